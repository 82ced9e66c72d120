"""How fast the embedded engine takes points, asked as the worker asks it but without a queue."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq_schemas import CreateCollection
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.client import open_store
from tests.benchmarks.load import DIMENSIONS, bodies
from tests.support.engine import embedded_engine
from tests.support.processes import cpu_seconds

if TYPE_CHECKING:
    from pathlib import Path

_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Ingested:
    points: int
    points_per_second: float
    store_cpu: float  # microseconds a point


async def ingest(directory: Path, batches: int, points: int = 100) -> Ingested:
    """Writes of `points` each, four in flight. The requests are built while the engine works, as a worker does."""
    ready = [decode_points(body, points) for body in bodies(batches, points, "base64")]
    with embedded_engine(directory / "ingest") as engine:
        async with open_store(engine.url, None, 30.0) as store:
            await store.create_collection("bench", CreateCollection(size=DIMENSIONS), 10.0)
            waiting = iter(ready)

            async def stream() -> None:
                for batch in waiting:
                    await store.upsert("bench", batch)

            before, began = cpu_seconds(engine.pid), time.perf_counter()
            await asyncio.gather(*(stream() for _ in range(_IN_FLIGHT)))
            seconds, spent = time.perf_counter() - began, cpu_seconds(engine.pid) - before
            total = await store.count("bench", None, 10.0)
    if total != batches * points:
        raise RuntimeError(f"{total} points of {batches * points} are there")
    return Ingested(total, total / seconds, spent / total * 1e6)
