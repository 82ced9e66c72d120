"""Queries through the queue against the same queries asked of the store by the official client."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import AsyncQdrantClient

from memq import Producer
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION, create
from tests.benchmarks.load import DIMENSIONS, bodies
from tests.benchmarks.processes import cpu_seconds
from tests.support.engine import embedded_engine
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.broker import Address

IN_FLIGHT = 16
LIMIT = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """Latencies in milliseconds, one question at a time; the store's CPU in milliseconds a query."""

    way: str
    queries_per_second: float
    store_cpu: float
    p50: float
    p95: float


async def questions(address: Address, directory: Path, points: int, queries: int) -> list[Asked]:
    """`queries` of 10 hits with payload from `points` points: 16 in flight, then a tenth of them one at a time."""
    vectors = np.random.default_rng(7).standard_normal((queries, DIMENSIONS)).astype("<f4")
    with embedded_engine(directory) as engine:
        await create(engine)
        async with open_store(engine.url, None, 30.0) as store:
            for body in bodies(points // 100, 100, "base64"):
                await store.upsert(COLLECTION, decode_points(body, 100))
        port = int(engine.url.rpartition(":")[2])
        official = AsyncQdrantClient(
            host="127.0.0.1", grpc_port=port, prefer_grpc=True, https=False, check_compatibility=False, timeout=30
        )

        async def straight(vector: Any) -> Any:
            return await official.query_points(COLLECTION, query=vector.tolist(), limit=LIMIT, with_payload=True)

        with running_worker(address, qdrant_url=engine.url) as worker:
            async with Producer(address.url, prefix=address.prefix) as producer:

                async def queued(vector: Any) -> Any:
                    return await producer.query(COLLECTION, vector, limit=LIMIT)

                results = [
                    await _measure("AsyncQdrantClient", straight, vectors, engine.pid),
                    await _measure("memq", queued, vectors, engine.pid),
                ]
            worker.terminate()
        await official.close()
    return results


async def _measure(way: str, ask: Callable[[Any], Awaitable[Any]], vectors: Any, store: int) -> Asked:
    for vector in vectors[:20]:
        await ask(vector)
    waiting = iter(vectors)

    async def stream() -> None:
        for vector in waiting:
            await ask(vector)

    before, began = cpu_seconds(store), time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(IN_FLIGHT)))
    seconds, spent = time.perf_counter() - began, cpu_seconds(store) - before
    alone: list[float] = []
    for vector in vectors[: max(20, len(vectors) // 10)]:
        asked = time.perf_counter()
        await ask(vector)
        alone.append((time.perf_counter() - asked) * 1000)
    return Asked(
        way,
        len(vectors) / seconds,
        spent / len(vectors) * 1000,
        statistics.median(alone),
        statistics.quantiles(alone, n=20)[18],
    )
