"""Cost of tenants: start, memory and CPU of a worker whose tenants file names none, some or many."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aio_pika

from memq_schemas import Names, headers
from memq_schemas.tenants import TenantNames
from memq_worker.qdrant.client import open_store
from tests.benchmarks.load import DIMENSIONS, bodies
from tests.support.broker import consumers
from tests.support.engine import embedded_engine
from tests.support.processes import cpu_seconds, peak_rss_mib, rss_mib
from tests.support.scrape import fetched
from tests.support.tenants import tenants_of
from tests.support.until import until
from tests.support.worker import COMMAND, free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine
    from tests.support.tenants import Tenants

POINTS = 100  # in a message
# Number of tenants, and their lanes.
CROWDS: tuple[tuple[int, str], ...] = ((0, ""), (1, "shared"), (100, "shared"), (1_000, "shared"), (100, "own"))
_SHARED = "together"
_APPLY_SECONDS = 420.0
_DRAIN_SECONDS = 300.0
_STORE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """Figures of one worker. All points are in one collection, which the tenants share; without tenants it is the
    operator's.

    lanes: "shared", or "own" for two queues a tenant.   applied: seconds of `tenants apply` for the tenants that are
    new.   ready, ready_cpu: seconds of wall and of CPU from the start until the worker consumes every queue.
    idle_mib, peak_mib: memory then, and at most while it writes.   cpu: microseconds a point, start taken off.
    scrape_kib, scrape_ms: of `/metrics` after the points.
    """

    tenants: int
    lanes: str
    points: int
    applied: float
    ready: float
    ready_cpu: float
    idle_mib: float
    peak_mib: float
    cpu: float
    scrape_kib: float
    scrape_ms: float


async def crowds(address: Address, directory: Path, messages: int) -> list[Crowd]:
    """Each crowd with the same messages, in turn from all of its tenants. Needs the management API."""
    with embedded_engine(directory / "data") as engine, tenants_of(address, directory, engine.url) as tenants:
        return [await _crowd(tenants, engine, number, lanes, messages) for number, lanes in CROWDS]


async def _crowd(tenants: Tenants, engine: EmbeddedEngine, number: int, lanes: str, messages: int) -> Crowd:
    address, names = tenants.amqp, [f"{lanes}-{each}" for each in range(number)]
    applied = await asyncio.to_thread(_apply, tenants, names, lanes)
    ready, ready_cpu, idle = await _start(tenants, names, lanes)
    commands = [TenantNames(address.prefix, name).commands for name in names] or [Names(address.prefix).commands]
    await _publish(address, commands, messages)
    port = free_port()
    async with open_store(engine.url, None, _STORE_SECONDS) as store:
        with running_worker(address, **tenants.settings, metrics_port=port) as worker:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await store.count(_SHARED, None, _STORE_SECONDS) < messages * POINTS:
                    if worker.process.poll() is not None:
                        raise RuntimeError(f"the worker ended:\n{worker.text}")
                    await asyncio.sleep(0.05)  # the store has no event for it
            spent, peak = cpu_seconds(worker.process.pid) - ready_cpu, peak_rss_mib(worker.process.pid)
            size, took = await asyncio.to_thread(_scrape, port)
            worker.terminate()
        await store.drop_collection(_SHARED, _STORE_SECONDS)  # the next worker creates it
    total = messages * POINTS
    cpu = spent / total * 1e6
    return Crowd(number, lanes, total, applied, ready, ready_cpu, idle, peak, cpu, size / 1024, took * 1000)


def _apply(tenants: Tenants, names: Sequence[str], lanes: str) -> float:
    """Write and apply a file with these tenants. Return the seconds."""
    tenants.generation += 1
    lines = [f"generation = {tenants.generation}", f"[shared.{_SHARED}]", f"size = {DIMENSIONS}"]
    for name in names:
        lines += [f"[tenants.{name}]", 'storage = "shared"', f'lane = "{lanes}"']
    tenants.path.write_text("\n".join(lines) + "\n")
    began = time.perf_counter()
    command = [COMMAND, "tenants", "apply"]
    subprocess.run(command, env=tenants.environ, check=True, stdout=subprocess.DEVNULL, timeout=_APPLY_SECONDS)
    return time.perf_counter() - began


async def _start(tenants: Tenants, names: Sequence[str], lanes: str) -> tuple[float, float, float]:
    """Return seconds until every queue is consumed, the worker's CPU seconds until then, and its memory."""
    address = tenants.amqp
    last = [*TenantNames(address.prefix, names[-1]).lanes.values()][-1] if lanes == "own" else None
    began = time.perf_counter()
    with running_worker(address, **tenants.settings) as worker:
        await until(lambda: consumers(address, last or Names(address.prefix).tenants_write_bulk), within=_DRAIN_SECONDS)
        ready = time.perf_counter() - began
        spent, memory = cpu_seconds(worker.process.pid), rss_mib(worker.process.pid)
        worker.terminate()
    return ready, spent, memory


async def _publish(address: Address, exchanges: Sequence[str], messages: int) -> None:
    """Publish upserts to the exchanges in turn, as the operator's user may."""
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        for exchange, body in zip(itertools.cycle(exchanges), bodies(messages, POINTS, "base64"), strict=False):
            target = await channel.get_exchange(exchange, ensure=False)
            message = aio_pika.Message(
                body, delivery_mode=2, content_type=headers.JSON, priority=headers.PRIORITY, message_id=uuid.uuid4().hex
            )
            await target.publish(message, f"upsert.{_SHARED}")


def _scrape(port: int) -> tuple[int, float]:
    """Return the bytes of `/metrics`, and the seconds it took."""
    fetched(port, "/metrics")
    began = time.perf_counter()
    status, text = fetched(port, "/metrics")
    assert status == 200, text
    return len(text.encode()), time.perf_counter() - began
