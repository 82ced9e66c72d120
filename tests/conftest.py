from __future__ import annotations

import os
import signal
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import pytest
from _pytest.capture import CaptureManager

from stack.broker import Broker, NoBroker, Server, found, private
from stack.machine import Machine, say
from stack.prometheus import NoPrometheus, Programs
from stack.prometheus import found as prometheus_found
from tests.support.broker import Address, own_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

# Taken before any test has changed it: what selects the broker is the run's, not a test's.
ENVIRONMENT = dict(os.environ)
BROKER = pytest.StashKey[Broker]()
PROMETHEUS = pytest.StashKey[Programs | NoPrometheus]()


def pytest_configure() -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and commands that tests interrupt inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """One broker for the whole run, if a test asks for one. A run that can have none fails, with the reason.

    Not in a fixture: installing RabbitMQ may take longer than the time limit of the test that happens to come first.
    """
    config = session.config
    if config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if "prometheus_programs" in wanted:
        with _shown(config):
            config.stash[PROMETHEUS] = _prometheus()
    if "broker" not in wanted:
        return
    with _shown(config), ExitStack() as opening:
        try:
            broker = opening.enter_context(found(Machine(environ=ENVIRONMENT)))
        except NoBroker as error:
            pytest.exit(str(error), returncode=1)
        say(f"memq: testing with {broker.how}, RabbitMQ {broker.version or 'of unknown version'}")
        config.stash[BROKER] = broker
        config.add_cleanup(opening.pop_all().close)


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    capture = config.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled() if isinstance(capture, CaptureManager) else nullcontext()


def _prometheus() -> Programs | NoPrometheus:
    try:
        return prometheus_found(Machine(environ=ENVIRONMENT))
    except NoPrometheus as error:
        return error


@pytest.fixture(scope="session")
def prometheus_programs(request: pytest.FixtureRequest) -> Programs:
    """Prometheus and promtool. Without them the test is skipped: they are for looking at memq, not a part of it."""
    found = request.config.stash[PROMETHEUS]
    if isinstance(found, NoPrometheus):
        pytest.skip(str(found))
    return found


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
