"""Latency of a live upsert beside a backlog: in the bulk lane, in its own queue, and in lanes of tenants."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq import Producer
from memq_schemas import Names
from memq_schemas.tenants import TenantNames
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION, create
from tests.benchmarks.load import DIMENSIONS, bodies, publish
from tests.support.engine import embedded_engine
from tests.support.tenants import Tenants, tenants_of
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from memq_worker.qdrant.client import QdrantStore
    from tests.support.broker import Address

POINTS = 100  # in a message of the backlog
PAUSE_SECONDS = 0.05
LANES = (10, 100)
_SHARED = "together"
_MOST_SECONDS = 120.0
_BATCHES = 100  # of the idle store

# Latencies through memq, those of the store alone, and points of the backlog written per second.
Measured = tuple[list[float], list[float], float]


@dataclass(frozen=True, slots=True)
class Fair:
    """Latencies in milliseconds of live upserts of one point with `wait`, one at a time, into another collection.

    collections: written to.   message_kib: size of a message of the backlog.
    store_p50, store_p99: of the same upserts sent to the store itself, in turn with the others: the part that no queue
    can shorten.   batch_p50, batch_p99: of a write of as many points as a message of the backlog has, sent to the idle
    store: how long one of them keeps another write waiting.
    drained: points of the backlog written per second meanwhile.
    """

    backlog: str
    points: int
    collections: int
    message_kib: float
    upserts: int
    p50: float
    p99: float
    most: float
    store_p50: float
    store_p99: float
    batch_p50: float
    batch_p99: float
    drained: float


async def fairness(address: Address, directory: Path, messages: int, upserts: int) -> list[Fair]:
    """Without a backlog, beside one in the bulk lane, behind one in the live lane (a tenth of the upserts), and beside
    as large a backlog in the lanes of 10 and of 100 tenants, where the broker has the management API.
    """
    names = Names(address.prefix)
    results: list[Fair] = []
    with embedded_engine(directory / "data") as engine:
        await create(engine)
        await _prepare(address, engine.url)
        batch = await _batches(engine.url)
        backlogs = (("none", None), ("bulk lane", names.bulk), ("live lane", names.commands))
        for number, (backlog, exchange) in enumerate(backlogs):
            if exchange is not None:  # while nobody consumes
                load = bodies(messages, POINTS, "base64", first=number * messages * POINTS)
                await publish(address.url, exchange, f"upsert.{COLLECTION}", load, "base64")
            count = upserts if exchange != names.commands else max(3, upserts // 20)
            with running_worker(address, qdrant_url=engine.url) as worker:
                measured = await _live(address, engine.url, COLLECTION, count)
                worker.terminate()
            results.append(_figures(backlog, 0 if exchange is None else messages, batch, measured))
        if address.management_url is not None:
            with tenants_of(address, directory, engine.url) as tenants:
                for lanes in LANES:
                    measured = await _beside_lanes(tenants, engine.url, lanes, messages, upserts)
                    results.append(_figures(f"{lanes} lanes", messages // lanes * lanes, batch, measured))
    return results


async def _beside_lanes(tenants: Tenants, store: str, lanes: int, messages: int, upserts: int) -> Measured:
    """Tenants with a lane each, and their points in one collection."""
    address, noisy = tenants.amqp, [f"noisy-{number}" for number in range(lanes)]
    tables = dict.fromkeys(noisy, 'storage = "shared"\nlane = "own"')
    tenants.write(*noisy, extra=f"[shared.{_SHARED}]\nsize = {DIMENSIONS}", tables=tables)
    await asyncio.to_thread(tenants.ok, "apply")
    each = messages // lanes
    for name in noisy:
        exchange = TenantNames(address.prefix, name).commands
        load = bodies(each, POINTS, "base64", first=lanes * messages * POINTS)
        await publish(address.url, exchange, f"upsert.{_SHARED}", load, "base64")
    with running_worker(address, **tenants.settings) as worker:
        measured = await _live(address, store, _SHARED, upserts)
        worker.terminate()
    for name in noisy:  # what is left would wait for the next run's worker
        await asyncio.to_thread(tenants.api, "DELETE", tenants.here("queues", f"{address.prefix}.lane.{name}"))
    return measured


async def _prepare(address: Address, store: str) -> None:
    """Declare the topology and create the collection of the live upserts."""
    with running_worker(address, qdrant_url=store) as worker:
        async with Producer(address.url, prefix=address.prefix) as producer:
            await producer.collections.create("live", size=DIMENSIONS)
            await producer.upsert("live", [(0, [0.5] * DIMENSIONS)], wait=True)
        worker.terminate()


async def _batches(store: str) -> list[float]:
    """Return the latencies of writes as large as a message of the backlog, one at a time."""
    taken: list[float] = []
    async with open_store(store, None, 30.0) as client:
        for body in bodies(_BATCHES, POINTS, "base64", seed=2):
            points = decode_points(body, POINTS)
            began = time.perf_counter()
            await client.upsert(COLLECTION, points)
            taken.append((time.perf_counter() - began) * 1000)
    return taken


async def _live(address: Address, store: str, collection: str, upserts: int) -> Measured:
    """Return the latencies through memq, those of the store alone, and points per second written to `collection`."""
    taken: list[float] = []
    direct: list[float] = []
    point = decode_points(next(iter(bodies(1, 1, "base64"))), 1)
    async with (
        Producer(address.url, prefix=address.prefix, timeout=_MOST_SECONDS) as producer,
        open_store(store, None, 30.0) as client,
    ):
        before, started = await _points(client, collection), time.perf_counter()
        for number in range(upserts):
            began = time.perf_counter()
            await producer.upsert("live", [(number, [0.5] * DIMENSIONS)], wait=True)
            taken.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_SECONDS / 2)
            began = time.perf_counter()
            await client.upsert("live", point)
            direct.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_SECONDS / 2)
        seconds = time.perf_counter() - started
        return taken, direct, (await _points(client, collection) - before) / seconds


async def _points(store: QdrantStore, collection: str) -> int:
    found = await store.list_collections(30.0)
    return (await store.describe_collection(collection, 30.0))["points"] if collection in found else 0


def _figures(backlog: str, messages: int, batches: list[float], measured: Measured) -> Fair:
    taken, direct, drained = measured
    ranked, store, batch = (statistics.quantiles(each, n=100, method="inclusive") for each in (taken, direct, batches))
    size = len(next(iter(bodies(1, POINTS, "base64")))) / 1024
    return Fair(
        backlog=backlog,
        points=messages * POINTS,
        collections=2 if messages else 1,
        message_kib=size,
        upserts=len(taken),
        p50=ranked[49],
        p99=ranked[98],
        most=max(taken),
        store_p50=store[49],
        store_p99=store[98],
        batch_p50=batch[49],
        batch_p99=batch[98],
        drained=drained,
    )
