"""A worker beside each kind of store, for tests that ask the same of both."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import pytest

from tests.support.broker import own_address
from tests.support.engine import embedded_engine
from tests.support.qdrant import NoQdrantError, qdrant_server
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.broker import Broker
    from tests.support.broker import Address

STORES = ["embedded", pytest.param("qdrant", marks=pytest.mark.slow)]


@contextmanager
def worker_beside(store: Literal["embedded", "qdrant"], broker: Broker, directory: Path) -> Iterator[Address]:
    """An address of its own at the broker, with a worker. Without a Qdrant server the test is skipped."""
    try:
        with (
            _address(store, directory) as found,
            own_address(broker) as amqp,
            running_worker(amqp, qdrant_url=f"http://{found}"),
        ):
            yield amqp
    except NoQdrantError as missing:
        pytest.skip(str(missing))


@contextmanager
def _address(store: str, directory: Path) -> Iterator[str]:
    if store == "embedded":
        with embedded_engine(directory / "data") as engine:
            yield engine.address
    else:
        with qdrant_server(directory) as address:
            yield address
