"""Collections that others made: strict mode's limits and aliases, on a real Qdrant server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q

from memq import Producer, RemoteError
from tests.integration.test_real_qdrant import create, server
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration

FEW = 7


@asynccontextmanager
async def strict(amqp: Address, directory: Path, **limits: Any) -> AsyncIterator[Producer]:
    """Serve a collection "strict" with these limits of strict mode."""
    with server(directory) as address:
        await create(address, "strict", q.StrictModeConfig(enabled=True, **limits))
        with running_worker(amqp, qdrant_url=f"http://{address}", max_attempts=1):
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                yield producer


async def put(producer: Producer, count: int) -> None:
    """Upsert `count` points, those with even ids with their id as version."""
    for parity in (0, 1):
        ids = list(range(parity, count, 2))
        versions = None if parity else ids
        await producer.upsert("strict", ids=ids, vectors=[[1.0, 1.0]] * len(ids), versions=versions, wait=True)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 3 * FEW, 50])
async def test_overwrite_reads_pages_as_large_as_the_collection_allows(
    amqp: Address, tmp_path: Path, count: int
) -> None:
    async with strict(amqp, tmp_path, max_query_limit=FEW) as producer:
        await put(producer, count)
        await producer.set_payload("strict", list(range(count)), overwrite={"by": "ids"}, wait=True)
        found = await producer.get("strict", list(range(count)))
        assert [(point.payload, point.version) for point in found.points] == [
            ({"by": "ids"}, None if number % 2 else number) for number in range(count)
        ]
        await producer.set_payload("strict", filter={"must": [{"has_id": [0, count - 1]}]}, overwrite={}, wait=True)
        changed = [point.id for point in (await producer.get("strict", list(range(count)))).points if not point.payload]
        assert changed == sorted({0, count - 1})


async def test_exact_answers_are_refused_where_the_collection_allows_estimates_alone(
    amqp: Address, tmp_path: Path
) -> None:
    async with strict(amqp, tmp_path, search_allow_exact=False) as producer:
        await put(producer, 10)
        assert (await producer.count("strict", exact=False)).count == 10
        assert len((await producer.query("strict", [1.0, 1.0], limit=3)).points) == 3
        for refused in (
            producer.count("strict"),
            producer.count("strict", filter={"must": [{"has_id": [1]}]}),
            producer.query("strict", [1.0, 1.0], params={"exact": True}),
        ):
            with pytest.raises(RemoteError, match="search_allow_exact") as caught:
                await refused
            assert (caught.value.code, caught.value.status) == ("rejected_by_store", 422)


async def test_limits_of_a_request_refuse_that_request_alone(amqp: Address, tmp_path: Path) -> None:
    """The worker joins messages: together they exceed a limit that each of them keeps."""
    limits = {"upsert_max_batchsize": 3, "condition_max_size": 2, "search_max_hnsw_ef": 10}
    async with strict(amqp, tmp_path, **limits) as producer:
        writes = (producer.upsert("strict", [(number, [1.0, 1.0])], wait=True) for number in range(60))
        assert all(receipt.applied for receipt in await asyncio.gather(*writes))
        many = {"must": [{"key": "a", "match": {"any": [1, 2, 3]}}]}
        for refused, word in (
            (producer.upsert("strict", ids=range(4), vectors=[[1.0, 1.0]] * 4, wait=True), "upsert limit"),
            (producer.delete("strict", filter=many, wait=True), "Condition size limit"),
            (producer.query("strict", [1.0, 1.0], filter=many), "Condition size limit"),
            (producer.query("strict", [1.0, 1.0], params={"hnsw_ef": 64}), "hnsw_ef"),
        ):
            with pytest.raises(RemoteError, match=word) as caught:
                await refused
            assert (caught.value.code, caught.value.retryable) == ("rejected_by_store", False)
            assert "to -1" not in str(caught.value), "a filter has no points"
        assert (await producer.count("strict")).count == 60
        assert len((await producer.query("strict", [1.0, 1.0])).points) == 10


async def test_versioned_deletes_and_overwrite_name_the_index_that_they_need(amqp: Address, tmp_path: Path) -> None:
    async with strict(amqp, tmp_path, unindexed_filtering_update=False) as producer:
        await put(producer, 4)
        for write in (
            producer.delete("strict", [0], version=9, wait=True),
            producer.set_payload("strict", [0], overwrite={"a": 1}, wait=True),
            producer.set_payload("strict", [1], overwrite={"a": 1}, wait=True),
        ):
            with pytest.raises(RemoteError, match=r"memq index create _version .* --type integer") as caught:
                await write
            assert (caught.value.code, caught.value.status) == ("rejected_by_store", 422)
        await producer.indexes.create("strict", "_version", "integer")

        async def overwritten() -> bool:
            with suppress(RemoteError):  # while the index is built
                await producer.set_payload("strict", [0, 1], overwrite={"a": 1}, wait=True)
                return True
            return False

        await until(overwritten)
        await producer.delete("strict", [0], version=9, wait=True)
        found = await producer.get("strict", [0, 1])
        assert [(point.id, point.payload, point.version) for point in found.points] == [(1, {"a": 1}, None)]


async def test_create_with_exist_ok_compares_the_collection_behind_an_alias(amqp: Address, tmp_path: Path) -> None:
    with server(tmp_path) as address:
        await create(address, "behind")
        action = q.AliasOperations(create_alias=q.CreateAlias(collection_name="behind", alias_name="front"))
        async with grpc.aio.insecure_channel(address) as channel:
            about: Any = q.CollectionsStub(channel)
            await about.UpdateAliases(q.ChangeAliases(actions=[action]))
        with running_worker(amqp, qdrant_url=f"http://{address}"):
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                for name in ("front", "behind"):
                    created = await producer.collections.create(name, size=2, distance="dot", exist_ok=True)
                    assert not created.created
                    for size, distance, exist_ok in ((2, "dot", False), (3, "dot", True), (2, "cosine", True)):
                        with pytest.raises(RemoteError) as caught:
                            await producer.collections.create(name, size=size, distance=distance, exist_ok=exist_ok)
                        assert (caught.value.code, caught.value.status) == ("collection_exists", 409)
