from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

from tests.contract.messages import single_vector
from tests.support.engine import embedded_engine
from tests.support.qdrant import NoQdrantError, qdrant_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclass(frozen=True)
class Store:
    """The API under test, whoever serves it."""

    kind: str
    channel: Any
    points: Any
    collections: Any
    qdrant: Any

    def method(self, name: str) -> Any:
        service, method = name.split(".")
        return getattr(getattr(self, service), method)


def connect(kind: str, address: str) -> Store:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.aio.insecure_channel(address, options=options)
    return Store(
        kind,
        channel,
        points_service_pb2_grpc.PointsStub(channel),
        collections_service_pb2_grpc.CollectionsStub(channel),
        qdrant_pb2_grpc.QdrantStub(channel),
    )


@pytest.fixture(scope="session", params=["embedded", "qdrant"])
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
    connected = connect(*served)
    yield connected
    await connected.channel.close()


@pytest.fixture
async def collection(store: Store) -> AsyncIterator[str]:
    """A collection of this test's own: four dimensions, cosine."""
    name = f"memq-test-{secrets.token_hex(6)}"
    await store.collections.Create(q.CreateCollection(collection_name=name, vectors_config=single_vector(4)))
    yield name
    await store.collections.Delete(q.DeleteCollection(collection_name=name))
