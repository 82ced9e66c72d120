"""Latency of one tenant's queries while another floods the workers with its own."""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aio_pika
import numpy as np
import orjson

from memq import Producer, RemoteError
from memq_schemas import headers
from memq_schemas.tenants import TenantNames
from tests.benchmarks.load import DIMENSIONS
from tests.support.engine import embedded_engine
from tests.support.tenants import tenants_of
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from tests.support.broker import Address

_TURNS = 4  # with and without the flood, so that a slow minute of the machine hits both
_PAUSE_SECONDS = 0.01
_BEGUN_SECONDS = 3.0  # for a flood's process to start and connect
_STREAMS = 200  # of the flood that waits for its answers
_PER_SECOND = 1_000  # of the flood that does not
_POINTS = 2_000


@dataclass(frozen=True, slots=True)
class Flooded:
    """Latencies in milliseconds of a quiet tenant's queries, one at a time.

    beside: "waiting" with 200 queries unanswered at a time, or "open" with up to 1,000 queries a second
    that want no answer.
    number: of queries.   alone_p50, alone_p99: of as many queries without the flood, in turns with those beside it.
    """

    beside: str
    number: int
    p50: float
    p99: float
    most: float
    alone_p50: float
    alone_p99: float


async def flooded(address: Address, directory: Path, queries: int) -> list[Flooded]:
    """Beside each kind of flood, with one worker and tenants without limits. Needs the management API."""
    with embedded_engine(directory / "data") as engine, tenants_of(address, directory, engine.url) as tenants:
        tenants.write("quiet", "noisy")
        tenants.ok("apply")
        with running_worker(address, **tenants.settings) as worker:
            async with (
                Producer(tenants.url("quiet"), prefix=address.prefix, tenant="quiet", timeout=60) as quiet,
                Producer(tenants.url("noisy"), prefix=address.prefix, tenant="noisy", timeout=60) as noisy,
            ):
                for producer in (quiet, noisy):
                    await _fill(producer)

                url = tenants.url("noisy")
                found = [await _beside(kind, url, address.prefix, quiet, queries) for kind in ("waiting", "open")]
            worker.terminate()
    return found


async def _fill(producer: Producer) -> None:
    await producer.collections.create("docs", size=DIMENSIONS)
    vectors = np.random.default_rng(7).standard_normal((_POINTS, DIMENSIONS)).astype("<f4")
    await producer.upsert("docs", ids=list(range(_POINTS)), vectors=vectors, wait=True)


async def _beside(kind: str, url: str, prefix: str, quiet: Producer, queries: int) -> Flooded:
    await _asked(quiet, 50)  # not measured
    alone: list[float] = []
    taken: list[float] = []
    for _ in range(_TURNS):
        alone += await _asked(quiet, queries // _TURNS)
        with _flood(kind, url, prefix):
            await asyncio.sleep(_BEGUN_SECONDS)
            taken += await _asked(quiet, queries // _TURNS)
        await asyncio.sleep(_BEGUN_SECONDS)  # until what it left is answered
    (p50, p99), (alone_p50, alone_p99) = _ranked(taken), _ranked(alone)
    return Flooded(kind, len(taken), p50, p99, max(taken), alone_p50, alone_p99)


@contextmanager
def _flood(*arguments: str) -> Iterator[None]:
    """Run a flood in a process of its own."""
    flood = subprocess.Popen([sys.executable, "-m", __name__, *arguments])
    try:
        yield
    finally:
        flood.send_signal(signal.SIGKILL)
        flood.wait()


def _ranked(taken: list[float]) -> tuple[float, float]:
    ranked = statistics.quantiles(taken, n=100, method="inclusive")
    return ranked[49], ranked[98]


async def _asked(producer: Producer, queries: int) -> list[float]:
    vectors = np.random.default_rng(8).standard_normal((queries, DIMENSIONS)).astype("<f4")
    taken: list[float] = []
    for vector in vectors:
        began = time.perf_counter()
        await producer.query("docs", vector, limit=10)
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(_PAUSE_SECONDS)
    return taken


async def _waiting(url: str, prefix: str) -> None:
    """Keep so many queries unanswered."""
    vectors = np.random.default_rng(9).standard_normal((_STREAMS, DIMENSIONS)).astype("<f4")
    async with Producer(url, prefix=prefix, tenant="noisy", timeout=60) as noisy:

        async def stream(vector: Any) -> None:
            while True:
                try:
                    await noisy.query("docs", vector, limit=10)
                except RemoteError as error:
                    await asyncio.sleep(error.retry_after or 0.1)

        await asyncio.gather(*map(stream, vectors))


async def _open(url: str, prefix: str) -> None:
    """Publish queries at a steady rate without waiting for answers."""
    vector = np.random.default_rng(9).standard_normal(DIMENSIONS).round(4).tolist()
    body = orjson.dumps({"vector": vector, "limit": 10})
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        target = await channel.get_exchange(TenantNames(prefix, "noisy").commands, ensure=False)
        while True:
            for _ in range(round(_PER_SECOND * _PAUSE_SECONDS)):
                message = aio_pika.Message(body, content_type=headers.JSON, priority=headers.PRIORITY, expiration=10)
                await target.publish(message, "query.docs")
            await asyncio.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    floods = {"waiting": _waiting, "open": _open}
    asyncio.run(floods[sys.argv[1]](*sys.argv[2:]))
