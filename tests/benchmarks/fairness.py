"""Latency of a live upsert beside a bulk backlog, in its own lane and in the same queue."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq import Producer
from memq_schemas import Names
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION, create
from tests.benchmarks.load import DIMENSIONS, bodies, publish
from tests.support.engine import embedded_engine
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

POINTS = 100  # in a message of the backlog
PAUSE_SECONDS = 0.05
_MOST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Fair:
    """Latencies in milliseconds of live upserts of one point with `wait`, one at a time, into another collection.

    store: of the same upserts sent to the store itself, in turn with the others: the part that no queue can shorten.
    """

    backlog: str
    points: int
    upserts: int
    p50: float
    p99: float
    most: float
    store_p50: float
    store_p99: float


async def fairness(address: Address, directory: Path, messages: int, upserts: int) -> list[Fair]:
    """Without a backlog, beside one in the bulk lane, and behind one in the live lane (a tenth of the upserts)."""
    names = Names(address.prefix)
    results: list[Fair] = []
    with embedded_engine(directory) as engine:
        await create(engine)
        await _prepare(address, engine.url)
        for backlog, exchange in (("none", None), ("bulk lane", names.bulk), ("live lane", names.commands)):
            if exchange is not None:  # while nobody consumes
                load = bodies(messages, POINTS, "base64")
                await publish(address.url, exchange, f"upsert.{COLLECTION}", load, "base64")
            count = upserts if exchange != names.commands else max(3, upserts // 20)
            with running_worker(address, qdrant_url=engine.url) as worker:
                async with Producer(address.url, prefix=address.prefix, timeout=_MOST_SECONDS) as producer:
                    taken, direct = await _live(producer, engine.url, count)
                worker.terminate()
            results.append(_figures(backlog, 0 if exchange is None else messages * POINTS, taken, direct))
    return results


async def _prepare(address: Address, store: str) -> None:
    """Declare the topology and create the collection of the live upserts."""
    with running_worker(address, qdrant_url=store) as worker:
        async with Producer(address.url, prefix=address.prefix) as producer:
            await producer.collections.create("live", size=DIMENSIONS)
            await producer.upsert("live", [(0, [0.5] * DIMENSIONS)], wait=True)
        worker.terminate()


async def _live(producer: Producer, store: str, upserts: int) -> tuple[list[float], list[float]]:
    """Return the latencies through memq, and of the store alone."""
    taken: list[float] = []
    direct: list[float] = []
    point = decode_points(next(iter(bodies(1, 1, "base64"))), 1)
    async with open_store(store, None, 30.0) as client:
        for number in range(upserts):
            began = time.perf_counter()
            await producer.upsert("live", [(number, [0.5] * DIMENSIONS)], wait=True)
            taken.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_SECONDS / 2)
            began = time.perf_counter()
            await client.upsert("live", point)
            direct.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_SECONDS / 2)
    return taken, direct


def _figures(backlog: str, points: int, taken: list[float], direct: list[float]) -> Fair:
    ranked, store = (statistics.quantiles(each, n=100, method="inclusive") for each in (taken, direct))
    return Fair(backlog, points, len(taken), ranked[49], ranked[98], max(taken), store[49], store[98])
