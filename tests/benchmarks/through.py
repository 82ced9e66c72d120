"""From the producer to searchable with everything running at once, on one machine."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memq import Producer
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION, create, stored
from tests.benchmarks.load import DIMENSIONS, TEXT
from tests.support.engine import embedded_engine
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Through:
    """The producer's CPU in microseconds a point."""

    points: int
    points_per_second: float
    producer_cpu: float


async def through(address: Address, directory: Path, points: int) -> Through:
    """Columns of numpy arrays into `Producer.upsert`, confirmed, until the store shows the last of them."""
    vectors = np.random.default_rng(3).standard_normal((points, DIMENSIONS)).astype("<f4")
    ids = [str(uuid.UUID(int=n + (1 << 100))) for n in range(points)]
    payloads = [{"text": TEXT, "user": f"u{n % 50}", "kind": "note", "n": n, "open": True} for n in range(points)]
    with embedded_engine(directory) as engine:
        await create(engine)
        with running_worker(address, qdrant_url=engine.url) as worker:
            async with Producer(address.url, prefix=address.prefix) as producer:
                await producer.upsert(COLLECTION, ids=ids[:1], vectors=vectors[:1], payloads=payloads[:1])
                began, spent = time.perf_counter(), time.process_time()
                await producer.upsert(COLLECTION, ids=ids, vectors=vectors, payloads=payloads)
                spent = time.process_time() - spent
                async with open_store(engine.url, None, 30.0) as store, asyncio.timeout(_SECONDS):
                    while await stored(store, points) != points:  # noqa: ASYNC110  (it has no event)
                        await asyncio.sleep(0.01)
                seconds = time.perf_counter() - began
            worker.terminate()
    return Through(points, points / seconds, spent / points * 1e6)
