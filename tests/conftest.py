from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from stack.broker import Broker, NoBroker, Server, found, private
from stack.machine import Machine
from tests.support.broker import Address, own_address

if TYPE_CHECKING:
    from collections.abc import Iterator

# Taken before any test has changed it: what selects the broker is the run's, not a test's.
ENVIRONMENT = dict(os.environ)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One broker for the whole run, found in the order `stack.broker` has. A run that can have none fails."""
    try:
        with found(Machine(environ=ENVIRONMENT)) as broker:
            yield broker
    except NoBroker as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A broker that the tests of one module may kill, stop and start; `broker` is everyone's and is left alone."""
    try:
        with private(Machine(environ=ENVIRONMENT)) as (server, _):
            yield server
    except NoBroker as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture
def amqp(broker: Broker) -> Iterator[Address]:
    """An address that no other test sees: its own virtual host, removed after the test."""
    with own_address(broker) as address:
        yield address


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MEMQ_"):
            monkeypatch.delenv(name)
