"""A private broker, an engine behind a proxy that fails on request, two workers, two tenants, and Prometheus."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aio_pika
import numpy as np
from memq_amqp import stopped

from memq import Producer
from memq_schemas import Names
from memq_schemas.topology import DEFAULT_PREFIX
from stack.prometheus import Prometheus
from stack.workers import installed
from tests.rehearsal.scaled import divided, write
from tests.support.broker import Address
from tests.support.engine import embedded_engine
from tests.support.faults import faulty_store
from tests.support.processes import children
from tests.support.qdrant import Node, NoQdrantError
from tests.support.tenants import tenants_of
from tests.support.until import until
from tests.support.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stack.broker import Server
    from stack.prometheus import Programs
    from tests.support.engine import EmbeddedEngine
    from tests.support.faults import FaultyStore
    from tests.support.tenants import Tenants

METRICS_PORT = 9464  # the one that the page's commands name
PROCESSES = 2
COLLECTION = "docs"
PAUSE_SECONDS = 0.1
NOISY, LIMITED = "acme", "globex"


class Stage:
    """Everything that an incident breaks, and what its repair needs."""

    def __init__(
        self,
        server: Server,
        engine: EmbeddedEngine | Node,
        store: FaultyStore,
        tenants: Tenants,
        programs: Programs,
        home: Path,
        factor: float,
    ) -> None:
        self.server = server
        self.tenants = tenants
        self.engine = engine
        self.store = store
        self.factor = factor
        self._programs = programs
        self._home = home
        self._source = write(home, factor)
        self._traffic: asyncio.Task[None] | None = None
        self.pool: WorkerProcess | None = None
        self.prometheus: Prometheus | None = None
        self.targets = 0

    @property
    def environ(self) -> dict[str, str]:
        """The variables of the file that `scripts/serve` writes, for the page's commands."""
        tools = dict(self.server.tools)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
        places = [str(installed("memq").parent), tools.pop("PATH", ""), kept.get("PATH", os.defpath)]
        metrics = f"http://127.0.0.1:{METRICS_PORT}/metrics"
        return (
            kept
            | tools
            | {
                "PATH": os.pathsep.join(filter(None, places)),
                "MEMQ_AMQP_URL": self.server.amqp_url,
                "MEMQ_QDRANT_URL": self.store.url,
                "MEMQ_METRICS_URLS": metrics,
                "MEMQ_MANAGEMENT_URL": self.server.management_url,
                "MEMQ_TENANTS_FILE": str(self.tenants.path),
            }
        )

    async def start_pool(self) -> None:
        given = {
            "amqp_url": self.server.amqp_url,
            "qdrant_url": self.store.url,
            "management_url": self.server.management_url,
            "tenants_file": self.tenants.path,
            "metrics_port": METRICS_PORT,
            "processes": PROCESSES,
            # Small writes, so that a slow store cannot keep up by merging more messages.
            "batch_points": 10,
            "max_attempts": 2,
            "drain_seconds": 31,
            "store_timeout_seconds": 30,
        }
        self.pool = WorkerProcess(given)
        await asyncio.to_thread(self.pool.until, "worker ready", PROCESSES)

    async def stop_pool(self, number: int = signal.SIGTERM) -> None:
        if self.pool is not None and self.pool.process.poll() is None:
            for pid in self.workers():
                # A worker that an incident stopped would keep its pool's log open.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.pool.process.send_signal(number)
            try:
                await asyncio.to_thread(self.pool.ended)
            except subprocess.TimeoutExpired:
                self.pool.kill()

    def workers(self) -> list[int]:
        """Pids of the pool's processes."""
        return [] if self.pool is None else children(self.pool.process.pid)

    async def watch(self, *left_out: str) -> None:
        """Start Prometheus, again if it runs, without the jobs `left_out`."""
        self.stop_watching()
        broker = urlsplit(self.server.prometheus_url).netloc
        targets = {"memq": [f"127.0.0.1:{METRICS_PORT}"], "rabbitmq": [broker], "rabbitmq-detailed": [broker]}
        if isinstance(self.engine, Node):
            targets["qdrant"] = [self.engine.http_address]
        kept = {job: places for job, places in targets.items() if job not in left_out}
        self.targets = len(targets) + 1  # Prometheus scrapes itself
        # The last value of a series stands for this long after its target has gone.
        lookback = f"--query.lookback-delta={divided('5m', self.factor)}"
        self.prometheus = Prometheus(self._programs.prometheus, self._home, kept, "1s", self._source, lookback)
        await self.prometheus.ready()

    def stop_watching(self) -> None:
        if self.prometheus is not None:
            self.prometheus.stop()
            self.prometheus = None

    async def firing(self, labels: str = "") -> set[str]:
        """Names of the alerts that fire now, with these labels; none while Prometheus is down."""
        if self.prometheus is None:
            return set()
        found = await self.prometheus.query(f'ALERTS{{alertstate="firing",{labels}}}')
        return {each.labels["alertname"] for each in found}

    def begin_traffic(self) -> None:
        self._traffic = asyncio.create_task(self._send())

    async def end_traffic(self) -> None:
        if self._traffic is not None:
            await stopped(self._traffic)
            self._traffic = None

    async def _send(self) -> None:
        """Ten writes and ten queries a second. What fails meanwhile is the incident's."""
        number = 0
        async with Producer(self.server.amqp_url, timeout=5, name="rehearsal") as producer:
            while True:
                number += 1
                sends: list[Any] = [
                    producer.upsert(COLLECTION, ids=[number % 1000], vectors=np.ones((1, 4)), wait=True),
                    producer.query(COLLECTION, [1.0, 0.0, 0.0, 0.0], limit=3),
                ]
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS * 5):
                        await asyncio.gather(*sends, return_exceptions=True)
                await asyncio.sleep(PAUSE_SECONDS)

    async def publish(self, body: bytes, key: str = f"upsert.{COLLECTION}", count: int = 1, **properties: Any) -> None:
        """Publish raw messages, as a foreign client would."""
        async with await aio_pika.connect(self.server.amqp_url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(Names().commands, ensure=False)
            for _ in range(count):
                message = aio_pika.Message(body, content_type="application/json", delivery_mode=2, **properties)
                await exchange.publish(message, key)

    async def close(self) -> None:
        await self.end_traffic()
        await self.stop_pool(signal.SIGTERM)
        if self.pool is not None and self.pool.process.poll() is None:
            self.pool.kill()
        self.stop_watching()


@asynccontextmanager
async def stage(
    server: Server, programs: Programs, home: Path, factor: float, *, qdrant: bool = False
) -> AsyncIterator[Stage]:
    """Everything runs, and no alert but the watchdog fires, when the block begins.

    qdrant: the store is the Qdrant server on PATH, which Prometheus scrapes. Raises NoQdrantError.
    """
    async with AsyncExitStack() as stack:
        if qdrant:
            engine: EmbeddedEngine | Node = _qdrant(home / "qdrant")
            stack.callback(engine.kill)
            await asyncio.to_thread(engine.start)
        else:
            engine = await asyncio.to_thread(stack.enter_context, embedded_engine(home / "vectors", flush_seconds=0.2))
        store = await stack.enter_async_context(faulty_store(engine.url))
        directory = home / "tenants"
        directory.mkdir()
        address = Address(server.amqp_url, DEFAULT_PREFIX, server.management_url, "/")
        tenants = stack.enter_context(tenants_of(address, directory, store.url))
        tenants.write(NOISY, LIMITED, tables={LIMITED: "limits.requests_per_second = 1"})
        await asyncio.to_thread(tenants.ok, "apply")
        playing = Stage(server, engine, store, tenants, programs, home, factor)
        stack.push_async_callback(playing.close)
        await playing.start_pool()
        for url, tenant in ((server.amqp_url, None), *((tenants.url(name), name) for name in (NOISY, LIMITED))):
            async with Producer(url, tenant=tenant, timeout=30) as producer:
                await producer.collections.create(COLLECTION, 4, exist_ok=True)
        await playing.watch()
        playing.begin_traffic()
        await quiet(playing)
        yield playing


def _qdrant(directory: Path) -> Node:
    binary = shutil.which("qdrant")
    if binary is None:
        raise NoQdrantError("no qdrant on PATH")
    return Node(binary, directory)


async def quiet(playing: Stage, within: float = 120.0) -> None:
    """Return when every target has been scraped for 15 seconds, and the watchdog alone fires."""

    async def only_watchdog() -> bool:
        assert playing.prometheus is not None
        steady = await playing.prometheus.query("count(count_over_time(up[20s]) >= 15 and min_over_time(up[20s]) == 1)")
        return bool(steady and steady[0].value == playing.targets) and await playing.firing() == {"Watchdog"}

    await until(only_watchdog, within=within, every=0.5)
