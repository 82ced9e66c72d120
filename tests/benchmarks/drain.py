"""How fast, and at what cost, a worker empties a full queue."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq_schemas import Names
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION, our_start_up, stored
from tests.benchmarks.load import Form, bodies, publish
from tests.support.engine import EmbeddedEngine, embedded_engine
from tests.support.processes import cpu_seconds, peak_rss_mib
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

_DRAIN_SECONDS = 300.0
_STORE_SECONDS = 30.0
_SLOWEST = 500.0  # points a second


@dataclass(frozen=True, slots=True)
class Drained:
    """Figures of one run. CPU is user and system time of the process, in microseconds a point."""

    form: Form
    points_per_message: int
    points: int
    points_per_second: float
    worker_cpu: float
    store_cpu: float
    worker_rss_mib: float


async def drain(address: Address, directory: Path, form: Form, messages: int, points: int) -> Drained:
    """Fills the write queue while nobody consumes, then starts one worker process on an embedded engine.

    The worker's start-up and first message are taken off its CPU: a worker with one message is measured first.
    """
    names = Names(address.prefix)
    with embedded_engine(directory / f"{form}-{points}") as engine:
        start_up = await our_start_up(address, engine, form, points)
        await publish(address.url, names.commands, f"upsert.{COLLECTION}", bodies(messages, points, form), form)
        store_before = cpu_seconds(engine.pid)
        with running_worker(address, qdrant_url=engine.url) as worker:
            began = time.perf_counter()
            await _applied(engine, messages * points, worker)
            seconds = time.perf_counter() - began
            spent = cpu_seconds(worker.process.pid) - start_up
            memory = peak_rss_mib(worker.process.pid)
            store = cpu_seconds(engine.pid) - store_before
            worker.terminate()
    total = messages * points
    return Drained(form, points, total, total / seconds, spent / total * 1e6, store / total * 1e6, memory)


async def _applied(engine: EmbeddedEngine, expected: int, worker: WorkerProcess) -> None:
    """Until every point can be found. An empty queue would come sooner: a prefetch window is still unsettled then.

    The store is asked, and not the worker, whose answers would be part of its CPU.
    """
    async with (
        asyncio.timeout(_DRAIN_SECONDS + expected / _SLOWEST),
        open_store(engine.url, None, _STORE_SECONDS) as store,
    ):
        while await stored(store, expected) != expected:
            if worker.process.poll() is not None:
                raise RuntimeError(f"the worker ended:\n{worker.text}")
            await asyncio.sleep(0.05)  # the store has no event for it
