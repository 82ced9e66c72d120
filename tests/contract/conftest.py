from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.contract.store import Store, connected
from tests.support.engine import embedded_engine
from tests.support.qdrant import NoQdrantError, qdrant_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session", params=["embedded", pytest.param("qdrant", marks=pytest.mark.slow)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Which store, and where it listens: the same tests run against each."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with embedded_engine(directory / "data") as engine:
            yield request.param, engine.address
        return
    try:
        with qdrant_server(directory) as address:
            yield request.param, address
    except NoQdrantError as missing:
        pytest.skip(str(missing))


@pytest.fixture
async def store(served: tuple[str, str]) -> AsyncIterator[Store]:
    async with connected(*served) as store:
        yield store


@pytest.fixture
async def collection(store: Store) -> AsyncIterator[str]:
    """A collection of this test's own: four dimensions, cosine."""
    name = f"memq-test-{secrets.token_hex(6)}"
    await store.create(name)
    yield name
    await store.delete(name)
