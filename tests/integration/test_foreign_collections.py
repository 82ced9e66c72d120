"""Collections and points that other clients of Qdrant made, on memq's engine and on a real server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

from memq import Producer, RemoteError
from memq_schemas import Names
from tests.integration.test_real_qdrant import create, server
from tests.support.broker import depth
from tests.support.engine import embedded_engine
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration

FOREIGN: list[Any] = ["text", "7", 1.5, -3, True, {"a": 1}, [1, 2], ["x"], [], [[]], None]


@pytest.fixture(params=["engine", pytest.param("server", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> str:
    return request.param


@asynccontextmanager
async def working(store: str, amqp: Address, directory: Path) -> AsyncIterator[tuple[str, Producer]]:
    """The store's gRPC address, and a producer of a worker on it."""
    running = embedded_engine(directory / "data") if store == "engine" else server(directory)
    with running as found:
        address = found if isinstance(found, str) else found.address
        context = running_worker(amqp, qdrant_url=f"http://{address}", max_attempts=1)
        await asyncio.to_thread(context.__enter__)
        try:
            async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
                yield address, producer
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


def point(number: int, vectors: Any, payload: dict[str, Any] | None = None) -> Any:
    return q.PointStruct(id=q.PointId(num=number), vectors=vectors, payload=payload_to_grpc(payload or {}))


def dense(*numbers: float) -> Any:
    return q.Vectors(vector=q.Vector(dense=q.DenseVector(data=numbers)))


async def put(address: str, collection: str, *points: Any) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = q.PointsStub(channel)
        await stub.Upsert(q.UpsertPoints(collection_name=collection, wait=True, points=points))


async def make(address: str, collection: str, **config: Any) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = q.CollectionsStub(channel)
        await stub.Create(q.CreateCollection(collection_name=collection, **config), timeout=60)


async def drop(address: str, collection: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = q.CollectionsStub(channel)
        await stub.Delete(q.DeleteCollection(collection_name=collection), timeout=60)


async def switch(address: str, alias: str, *, to: str) -> None:
    action = q.AliasOperations(create_alias=q.CreateAlias(collection_name=to, alias_name=alias))
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = q.CollectionsStub(channel)
        await stub.UpdateAliases(q.ChangeAliases(actions=[action]), timeout=60)


async def test_a_foreign_value_under_the_key_of_versions_is_an_ordinary_one(
    store: str, amqp: Address, tmp_path: Path
) -> None:
    """It is read as it is, orders nothing unless it is a number, and gives way to a write with a version."""
    async with working(store, amqp, tmp_path) as (address, producer):
        await create(address, "docs")
        ids = list(range(len(FOREIGN)))
        await put(address, "docs", *(point(n, dense(1, 1), {"_version": FOREIGN[n], "k": n}) for n in ids))
        for found in (
            (await producer.get("docs", ids)).points,
            (await producer.query("docs", [1.0, 1.0], limit=99)).points,
            (await producer.scroll("docs", limit=99)).points,
        ):
            by_id = {each.id: each for each in found}
            assert [by_id[n].payload for n in ids] == [{"_version": FOREIGN[n], "k": n} for n in ids]
            assert not any(each.version for each in found)
        await producer.set_payload("docs", ids, overwrite={"new": True}, wait=True)
        found = (await producer.get("docs", ids)).points
        kept = [{"_version": value} if type(value) in (int, float) else {} for value in FOREIGN]  # as versions order
        assert [each.payload for each in found] == [{"new": True, **each} for each in kept]
        await put(address, "docs", *(point(n, dense(1, 1), {"_version": FOREIGN[n]}) for n in ids))
        first, second = ids[: len(ids) // 2], ids[len(ids) // 2 :]
        await producer.upsert(
            "docs", ids=first, vectors=[[2.0, 2.0]] * len(first), versions=[7] * len(first), wait=True
        )
        await producer.delete("docs", second, version=7, wait=True)
        found = (await producer.get("docs", ids)).points
        assert [(each.id, each.version) for each in found] == [(n, 7) for n in first]


async def test_sparse_vectors_and_multivectors_are_read_back(store: str, amqp: Address, tmp_path: Path) -> None:
    async with working(store, amqp, tmp_path) as (address, producer):
        many = q.VectorParams(size=2, distance=q.Distance.Dot, multivector_config=q.MultiVectorConfig())
        await make(
            address,
            "docs",
            vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap(map={"m": many})),
            sparse_vectors_config=q.SparseVectorConfig(map={"s": q.SparseVectorParams()}),
        )
        rows = q.MultiDenseVector(vectors=[q.DenseVector(data=[1, 2]), q.DenseVector(data=[3, 4])])
        named = {
            "m": q.Vector(multi_dense=rows),
            "s": q.Vector(sparse=q.SparseVector(indices=[3, 9], values=[0.5, 2])),
        }
        await put(address, "docs", point(1, q.Vectors(vectors=q.NamedVectors(vectors=named))))
        (found,) = (await producer.get("docs", [1], with_vector=True)).points
        vectors: Any = found.vector
        assert vectors["m"] == [[1.0, 2.0], [3.0, 4.0]]
        assert (list(vectors["s"].indices), list(vectors["s"].values)) == ([3, 9], [0.5, 2.0])


@pytest.mark.parametrize("how", ["recreated", "switched"])
async def test_writes_are_whole_or_refused_whole_and_right_ones_pass_after_a_change(
    store: str, how: str, amqp: Address, tmp_path: Path
) -> None:
    """A collection with two vectors becomes one with others while its contract is cached, and back, under load."""
    async with working(store, amqp, tmp_path) as (address, producer):
        configs = {
            kind: q.VectorsConfig(
                params_map=q.VectorParamsMap(
                    map={name: q.VectorParams(size=size, distance=q.Distance.Dot) for name, size in sizes.items()}
                )
            )
            for kind, sizes in {"old": {"a": 2, "b": 2}, "new": {"a": 2, "c": 3}}.items()
        }
        rows: dict[str, dict[str, list[float]]] = {
            "old": {"a": [1.0, 1.0], "b": [1.0, 1.0]},
            "new": {"a": [1.0, 1.0], "c": [1.0, 1.0, 1.0]},
        }

        async def become(kind: str) -> None:
            if how == "switched":
                await make(address, kind, vectors_config=configs[kind]) if kind not in made else None
                await switch(address, "docs", to=kind)
            else:
                await drop(address, "docs") if made else None
                await make(address, "docs", vectors_config=configs[kind])
            made.add(kind)

        made: set[str] = set()
        for turn, kind in enumerate(("old", "new", "old", "new")):
            await become(kind)
            other = "old" if kind == "new" else "new"
            base = 1000 * turn
            right = [
                producer.upsert("docs", [(base + n, rows[kind]), (base + 500 + n, {"a": [1.0, 1.0]})], wait=True)
                for n in range(40)
            ]
            wrong = [
                producer.upsert("docs", [(base + 100 + n, {"a": [1.0, 1.0]}), (base + 200 + n, rows[other])], wait=True)
                for n in range(10)
            ]
            done = await asyncio.gather(*right, *wrong, return_exceptions=True)
            assert not [each for each in done[:40] if isinstance(each, BaseException)], "right writes pass"
            for each in done[40:]:
                assert isinstance(each, RemoteError)
                assert each.code == "unknown_vector"
                assert "may have been written" in str(each) or await absent(producer, range(base + 100, base + 300))
        assert await depth(amqp, Names(amqp.prefix).dead) == 40


async def absent(producer: Producer, ids: range) -> bool:
    return not (await producer.get("docs", list(ids))).points
