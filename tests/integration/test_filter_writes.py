"""Writes that select by filter: their place, their timeout and their end, while a collection or the store is held."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from memq import Producer, RemoteError
from memq_schemas import Names
from tests.integration.test_real_qdrant import create, good_writes, server
from tests.support.broker import depth
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.until import until
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

S = grpc.StatusCode
BEFORE, AFTER = 40, 40  # upserts around the delete; a quarter of the prefetch window is 10


@asynccontextmanager
async def working(
    amqp: Address, url: str, *collections: str, **settings: Any
) -> AsyncIterator[tuple[WorkerProcess, Producer]]:
    context = running_worker(amqp, qdrant_url=url, log_repeats=0, **settings)
    worker = await asyncio.to_thread(context.__enter__)
    try:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=60) as producer:
            for name in collections:
                await producer.collections.create(name, 2, exist_ok=True)
            yield worker, producer
            for name in collections:
                await producer.collections.delete(name)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def refuses(store: FaultyStore, fault: Fault | None) -> None:
    for method in ("Upsert", "Delete"):
        store.fail_always(method, fault)


def only(collection: bytes, status: grpc.StatusCode, details: str, *metadata: tuple[str, str]) -> Fault:
    return Fault(status, details, metadata, only=lambda body: collection in body[:20])


POISONS = {
    "held": only(b"docs", S.INTERNAL, "Service internal error: No space left on device"),
    "throttled": only(b"docs", S.RESOURCE_EXHAUSTED, "Rate limiting exceeded", ("retry-after", "2")),
}


@pytest.mark.parametrize("name", POISONS)
@pytest.mark.parametrize("recovers_after", [3, BEFORE + AFTER])
async def test_a_delete_by_filter_keeps_its_place_among_parked_writes(
    name: str, recovers_after: int, amqp: Address, engine: EmbeddedEngine
) -> None:
    """Every point written before it is deleted, and every point written after it stays."""
    async with (
        faulty_store(engine.url) as store,
        working(amqp, store.url, "docs", "other", prefetch=40, batch_points=8) as (worker, producer),
    ):
        await producer.upsert("other", [(0, [1.0, 1.0])], wait=True)
        refuses(store, POISONS[name])
        for number in range(BEFORE):
            await producer.upsert("docs", [(number, [1.0, 1.0])])
        await producer.delete("docs", filter={"must": [{"has_id": list(range(BEFORE + AFTER))}]})
        for number in range(BEFORE // 2, BEFORE + AFTER):
            await producer.upsert("docs", [(number, [1.0, 1.0])])
        await asyncio.to_thread(worker.until, "delivery not applied", count=recovers_after)
        refuses(store, None)

        async def settled() -> bool:
            points = (await producer.get("docs", list(range(BEFORE + AFTER)))).points
            return {point.id for point in points} == set(range(BEFORE // 2, BEFORE + AFTER))

        await until(settled, within=120, every=0.5)
        await until(lambda: nothing_parked(amqp), within=120, every=0.5)
        assert await settled(), "no late write changed it"
        assert await depth(amqp, Names(amqp.prefix).dead) == 0


async def nothing_parked(amqp: Address) -> bool:
    names = Names(amqp.prefix)
    queues = (names.write, *(names.retry(seconds) for seconds in (1, 5, 30, 120, 600)))
    return not any([await depth(amqp, queue) for queue in queues])


async def test_a_delete_that_keeps_the_store_from_answering_spends_its_attempts(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    """As memq's engine does, which runs one call at a time: nothing answers while the delete runs."""
    async with (
        faulty_store(engine.url) as store,
        working(amqp, store.url, "docs", max_attempts=1, filter_timeout_seconds=0.5) as (worker, producer),
    ):
        running: list[bool] = [False]

        def is_heavy(body: bytes) -> bool:
            running[0] = b"heavy" in body
            return running[0]

        store.fail_always("Delete", Fault(S.DEADLINE_EXCEEDED, only=is_heavy))
        store.fail_always("List", Fault(S.DEADLINE_EXCEEDED, only=lambda _: running[0]))
        with pytest.raises(RemoteError) as caught:
            await producer.delete("docs", filter={"must": [{"key": "heavy", "match": {"value": 1}}]}, wait=True)
        assert caught.value.code == "deadline_exceeded"
        assert worker.logged("store unavailable, writes held")
        store.fail_always("Delete", None)
        store.fail_always("List", None)


def heavy(conditions: int) -> dict[str, Any]:
    """A filter that selects nothing, and that Qdrant evaluates on every point."""
    text = "x" * 200
    nested = [{"key": f"k{n}", "match": {"text": text}} for n in range(conditions)]
    return {"min_should": {"conditions": nested, "min_count": 1}}


async def test_a_heavy_delete_by_filter_leaves_other_collections_alone_and_ends(amqp: Address, tmp_path: Path) -> None:
    with server(tmp_path) as address:
        for name in ("good", "heavy"):
            await create(address, name)
        async with working(
            amqp, f"http://{address}", max_attempts=2, store_timeout_seconds=5, filter_timeout_seconds=0.2
        ) as (worker, producer):
            for first in range(0, 10_000, 1000):
                ids = list(range(first, first + 1000))
                payloads = [{f"k{n}": "words of the payload" for n in range(5)}] * 1000
                await producer.upsert("heavy", ids=ids, vectors=[[1.0, 1.0]] * 1000, payloads=payloads, wait=True)
            writing = asyncio.create_task(producer.delete("heavy", filter=heavy(100), wait=True))
            await good_writes(producer, worker)
            with pytest.raises(RemoteError) as caught:
                await writing
            assert caught.value.code == "deadline_exceeded"
        assert await depth(amqp, Names(amqp.prefix).dead) == 1
