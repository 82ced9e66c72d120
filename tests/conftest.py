from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import pytest
from _pytest.capture import CaptureManager

from stack.broker import Broker, NoBroker, Server, found, private
from stack.machine import Machine, say
from tests.support.broker import Address, own_address

if TYPE_CHECKING:
    from collections.abc import Iterator

# Taken before any test has changed it: what selects the broker is the run's, not a test's.
ENVIRONMENT = dict(os.environ)
BROKER = pytest.StashKey[Broker]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """One broker for the whole run, if a test asks for one. A run that can have none fails, with the reason.

    Not in a fixture: installing RabbitMQ may take longer than the time limit of the test that happens to come first.
    """
    config = session.config
    wanted = any("broker" in getattr(item, "fixturenames", ()) for item in session.items)
    if not wanted or config.option.collectonly:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    shown = capture.global_and_fixture_disabled() if isinstance(capture, CaptureManager) else nullcontext()
    with shown, ExitStack() as opening:
        try:
            broker = opening.enter_context(found(Machine(environ=ENVIRONMENT)))
        except NoBroker as error:
            pytest.exit(str(error), returncode=1)
        say(f"memq: testing with {broker.how}, RabbitMQ {broker.version or 'of unknown version'}")
        config.stash[BROKER] = broker
        config.add_cleanup(opening.pop_all().close)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    return request.config.stash[BROKER]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A broker that the tests of one module may kill, stop and start; `broker` is everyone's and is left alone."""
    with private(Machine(environ=ENVIRONMENT)) as (server, _):
        yield server


@pytest.fixture
def amqp(broker: Broker) -> Iterator[Address]:
    """An address that no other test sees: its own virtual host, removed after the test."""
    with own_address(broker) as address:
        yield address


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MEMQ_"):
            monkeypatch.delenv(name)
