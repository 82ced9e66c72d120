"""Queries through the queue, asked of the store directly, and of an echo that shows what the queue alone costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import psutil
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as q

from memq import Producer
from memq_schemas import CreateCollection
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION
from tests.benchmarks.echo import echo
from tests.benchmarks.load import DIMENSIONS, bodies
from tests.support.engine import embedded_engine
from tests.support.processes import cpu_seconds
from tests.support.qdrant import own_qdrant_server
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.support.broker import Address

    Ask = Callable[[Any], Awaitable[Any]]

IN_FLIGHT = 16
LIMIT = 10
ECHO_PREFIX = "echo"
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Latencies in milliseconds, one question at a time; the store's CPU in milliseconds a query.

    idle: share of the machine's CPU that nobody used with 16 in flight, between 0 and 1.
    """

    store: str
    way: str
    queries_per_second: float
    store_cpu: float
    idle: float
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class _Way:
    name: str
    ask: Ask


@contextmanager
def _store(kind: str, directory: Path) -> Iterator[tuple[str, int]]:
    """The address, HOST:PORT, and the process of an embedded engine or a Qdrant server. Raises NoQdrantError."""
    if kind == "engine":
        with embedded_engine(directory) as engine:
            yield engine.url.removeprefix("http://"), engine.pid
        return
    directory.mkdir(parents=True)
    with own_qdrant_server(directory) as address:
        port = int(address.rpartition(":")[2])
        (owner,) = {each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr[1] == port} - {None}
        yield address, int(owner or 0)


async def questions(address: Address, directory: Path, points: int, queries: int, kind: str = "engine") -> list[Asked]:
    """`queries` of 10 hits with payload from `points` points: 16 in flight, then a tenth of them one at a time.

    kind: "engine", or "server" for a Qdrant server. One at a time, the ways take turns at each question.
    """
    vectors = np.random.default_rng(7).standard_normal((queries, DIMENSIONS)).astype("<f4")
    with ExitStack() as stack:
        place, pid = stack.enter_context(_store(kind, directory))
        await _fill(f"http://{place}", points)
        named = await _named(place, kind)
        worker = stack.enter_context(running_worker(address, qdrant_url=f"http://{place}"))
        stack.enter_context(echo(address.url, ECHO_PREFIX))
        official = AsyncQdrantClient(
            host="127.0.0.1",
            grpc_port=int(place.rpartition(":")[2]),
            prefer_grpc=True,
            https=False,
            check_compatibility=False,
            timeout=int(_SECONDS),
        )
        async with (
            Producer(address.url, prefix=address.prefix) as producer,
            Producer(address.url, prefix=ECHO_PREFIX) as echoing,
        ):
            ways = _ways(official, producer, echoing)
            results = await _measured(named, ways, vectors, pid)
        await official.close()
        worker.terminate()
    return results


def _ways(official: AsyncQdrantClient, producer: Producer, echoing: Producer) -> list[_Way]:
    async def straight(vector: Any) -> Any:
        return await official.query_points(COLLECTION, query=vector.tolist(), limit=LIMIT, with_payload=True)

    async def queued(vector: Any) -> Any:
        return await producer.query(COLLECTION, vector, limit=LIMIT)

    async def echoed(vector: Any) -> Any:
        return await echoing.query(COLLECTION, vector, limit=LIMIT)

    return [_Way("AsyncQdrantClient", straight), _Way("memq", queued), _Way("echo", echoed)]


async def _fill(url: str, points: int) -> None:
    async with open_store(url, None, _SECONDS) as store:
        await store.create_collection(COLLECTION, CreateCollection(size=DIMENSIONS), _SECONDS)
        for body in bodies(points // 100, 100, "base64"):
            await store.upsert(COLLECTION, decode_points(body, 100))
        # A server builds its index meanwhile, which would be measured too.
        while (await store.describe_collection(COLLECTION, _SECONDS))["status"] != "green":  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _named(place: str, kind: str) -> str:
    async with grpc.aio.insecure_channel(place) as channel:
        service: Any = q.QdrantStub(channel)
        version = (await service.HealthCheck(q.HealthCheckRequest())).version
    return f"{'embedded engine' if kind == 'engine' else 'Qdrant'} {version}"


async def _measured(store: str, ways: list[_Way], vectors: Any, pid: int) -> list[Asked]:
    for way in ways:
        for vector in vectors[:20]:
            await way.ask(vector)
    together = {way.name: await _together(way, vectors, pid) for way in ways}
    alone: dict[str, list[float]] = {way.name: [] for way in ways}
    for vector in vectors[: max(20, len(vectors) // 10)]:
        for way in ways:
            asked = time.perf_counter()
            await way.ask(vector)
            alone[way.name].append((time.perf_counter() - asked) * 1000)
    return [
        Asked(store, name, *together[name], statistics.median(times), statistics.quantiles(times, n=20)[18])
        for name, times in alone.items()
    ]


async def _together(way: _Way, vectors: Any, pid: int) -> tuple[float, float, float]:
    """Queries a second, the store's CPU in milliseconds a query, and the idle share of the machine."""
    waiting = iter(vectors)

    async def stream() -> None:
        for vector in waiting:
            await way.ask(vector)

    before, idle, began = cpu_seconds(pid), psutil.cpu_times().idle, time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - began
    unused = (psutil.cpu_times().idle - idle) / seconds / (psutil.cpu_count() or 1)
    return len(vectors) / seconds, (cpu_seconds(pid) - before) / len(vectors) * 1000, unused
