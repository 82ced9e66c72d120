"""A worker on each kind of store, for tests that ask the same of both."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support.broker import own_address
from tests.support.qdrant import NoQdrantError, own_qdrant_server
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.broker import Broker
    from tests.support.broker import Address

STORES = ["engine", pytest.param("server", marks=pytest.mark.slow)]


@contextmanager
def worker_on(store: Literal["engine", "server"], broker: Broker, directory: Path) -> Iterator[Address]:
    """An address of its own at the broker, with a worker. Without a Qdrant server the test is skipped."""
    with ExitStack() as stack:
        try:
            given: dict[str, Any] = (
                {"data_dir": directory}
                if store == "engine"
                else {"qdrant_url": f"http://{stack.enter_context(own_qdrant_server(directory))}"}
            )
        except NoQdrantError as missing:
            pytest.skip(str(missing))
        address = stack.enter_context(own_address(broker))
        stack.enter_context(running_worker(address, **given))
        yield address
