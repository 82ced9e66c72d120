"""A cluster of two real Qdrant nodes with replicated collections, one of which goes down and comes back."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q

from memq import Producer
from memq_schemas import Names
from tests.support.broker import Address, depth
from tests.support.qdrant import Node, NoQdrantError, qdrant_cluster
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

SHARDS = 4


@contextmanager
def cluster(directory: Path) -> Iterator[list[Node]]:
    try:
        with qdrant_cluster(directory) as nodes:
            yield nodes
    except NoQdrantError as error:
        pytest.skip(str(error))


async def create(address: str, name: str, *, replicas: int, needed: int) -> None:
    """needed: replicas that have to confirm a write."""
    vectors = q.VectorsConfig(params=q.VectorParams(size=2, distance=q.Distance.Dot))
    request = q.CreateCollection(
        collection_name=name,
        vectors_config=vectors,
        shard_number=SHARDS,
        replication_factor=replicas,
        write_consistency_factor=needed,
    )
    async with grpc.aio.insecure_channel(address) as channel:
        about: Any = q.CollectionsStub(channel)

        async def created() -> bool:
            try:
                await about.Create(request, timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.ALREADY_EXISTS
            return True

        await until(created, within=60, every=0.5)

        async def active() -> bool:
            info: Any = await about.CollectionClusterInfo(q.CollectionClusterInfoRequest(collection_name=name))
            shards = [*info.local_shards, *info.remote_shards]
            return len(shards) == SHARDS * replicas and all(shard.state == q.ReplicaState.Active for shard in shards)

        await until(active, within=60, every=0.2)


async def test_overwrite_works_on_a_healthy_replicated_collection(amqp: Address, tmp_path: Path) -> None:
    with cluster(tmp_path) as (first, _):
        await create(first.address, "docs", replicas=2, needed=2)
        with running_worker(amqp, qdrant_url=f"http://{first.address}", max_attempts=1):
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                ids = list(range(100))
                await producer.upsert("docs", ids=ids, vectors=[[1.0, 1.0]] * 100, versions=ids, wait=True)
                await producer.set_payload("docs", ids, overwrite={"by": "ids"}, wait=True)
                await producer.set_payload("docs", filter={"must": [{"has_id": ids[:9]}]}, overwrite={}, wait=True)
                found = (await producer.get("docs", ids)).points
                assert [(point.payload, point.version) for point in found] == [
                    ({} if number < 9 else {"by": "ids"}, number) for number in ids
                ]
                await producer.delete("docs", ids, version=50, wait=True)
                assert (await producer.count("docs")).count == 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("replicas", "needed"), [pytest.param(1, 1, marks=pytest.mark.slow), (2, 2)], ids=["sharded", "replicated"]
)
async def test_a_node_that_is_down_costs_time_and_no_attempt(
    amqp: Address, tmp_path: Path, replicas: int, needed: int
) -> None:
    with cluster(tmp_path) as (first, second):
        await create(first.address, "docs", replicas=replicas, needed=needed)
        given = {"max_attempts": 1, "log_repeats": 0, "store_timeout_seconds": 5}
        with running_worker(amqp, qdrant_url=f"http://{first.address}", **given) as worker:
            async with Producer(amqp.url, prefix=amqp.prefix, timeout=30) as producer:
                await producer.upsert("docs", ids=range(100), vectors=[[1.0, 1.0]] * 100, wait=True)
                await asyncio.to_thread(second.kill)
                for number in range(100, 200):
                    await producer.upsert("docs", [(number, [1.0, 1.0])])
                await producer.upsert("docs", ids=range(200, 400), vectors=[[1.0, 1.0]] * 200)
                await producer.set_payload("docs", list(range(50)), overwrite={"late": 1})
                await producer.delete("docs", list(range(50, 100)))
                await producer.delete("docs", filter={"must": [{"has_id": list(range(100, 110))}]})
                await asyncio.to_thread(lambda: worker.until("store unavailable, writes held"))
                await asyncio.sleep(5)
                assert await depth(amqp, Names(amqp.prefix).dead) == 0
                await asyncio.to_thread(second.start)

                async def all_done() -> bool:
                    return (await producer.count("docs")).count == 400 - 50 - 10

                await until(all_done, within=120, every=1.0)
        assert await depth(amqp, Names(amqp.prefix).dead) == 0
        assert not [line for line in worker.logged("delivery not applied") if line["attempt"] > 1]
