"""The API under test, whoever serves it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import grpc_to_payload
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

from tests.contract.messages import ALL_PAYLOAD, ALL_VECTORS, near, point_id, single_vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


@dataclass(frozen=True)
class Store:
    kind: str
    channel: Any
    points: Any
    collections: Any
    qdrant: Any

    async def create(self, collection: str, size: int = 4, **more: Any) -> None:
        config = {"vectors_config": single_vector(size), **more}
        await self.collections.Create(q.CreateCollection(collection_name=collection, **config))

    async def delete(self, collection: str) -> bool:
        answer = await self.collections.Delete(q.DeleteCollection(collection_name=collection))
        return answer.result

    async def names(self) -> list[str]:
        answer = await self.collections.List(q.ListCollectionsRequest())
        return [each.name for each in answer.collections]

    async def describe(self, collection: str) -> Any:
        answer = await self.collections.Get(q.GetCollectionInfoRequest(collection_name=collection))
        return answer.result

    async def upsert(self, collection: str, *points: Any, **more: Any) -> None:
        request = q.UpsertPoints(collection_name=collection, wait=True, points=points, **more)
        answer = await self.points.Upsert(request)
        assert answer.result.status == q.UpdateStatus.Completed

    async def get(self, collection: str, *keys: int | str) -> dict[int | str, Any]:
        ids = [point_id(key) for key in keys]
        request = q.GetPoints(collection_name=collection, ids=ids, with_payload=ALL_PAYLOAD, with_vectors=ALL_VECTORS)
        answer = await self.points.Get(request)
        return {each.id.uuid or each.id.num: each for each in answer.result}

    async def payloads(self, collection: str, *keys: int | str) -> dict[int | str, dict[str, Any]]:
        found = await self.get(collection, *keys)
        return {key: grpc_to_payload(each.payload) for key, each in found.items()}

    async def count(self, collection: str, found: Any = None) -> int:
        request = q.CountPoints(collection_name=collection, exact=True, filter=found)
        return (await self.points.Count(request)).result.count

    async def nearest(self, collection: str, vector: Sequence[float], **more: Any) -> list[int]:
        request = q.QueryPoints(collection_name=collection, **{"query": near(*vector), **more})
        return [hit.id.num for hit in (await self.points.Query(request)).result]


@asynccontextmanager
async def connected(kind: str, address: str) -> AsyncIterator[Store]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield Store(
            kind,
            channel,
            points_service_pb2_grpc.PointsStub(channel),
            collections_service_pb2_grpc.CollectionsStub(channel),
            qdrant_pb2_grpc.QdrantStub(channel),
        )


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    """The status and details that a call ends with, which must not be OK."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""
