"""Workers of other libraries doing the same job: the same points, queue and store, each on its own terms."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memq_schemas import CreateCollection, Names
from memq_worker.qdrant.client import QdrantStore, open_store
from tests.benchmarks.load import DIMENSIONS, SPARSE, bodies, publish
from tests.support.broker import consumers
from tests.support.engine import EmbeddedEngine, embedded_engine
from tests.support.processes import cpu_seconds
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.benchmarks.load import Form
    from tests.support.broker import Address

PEERS = {
    "aio-pika, by hand": "naive.py",
    "FastStream": "faststream_peer.py",
    "Celery": "celery_peer.py",
    "taskiq": "taskiq_peer.py",
    "dramatiq": "dramatiq_peer.py",
}
DIRECT = ("upload_points", "upload_collection", "upsert_async")
COLLECTION = "bench"

_HERE = Path(__file__).parent / "peers"
PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
_SECONDS = 300.0
_STOP_SECONDS = 20.0
_STORE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Compared:
    """CPU in microseconds a point, without what a worker spends on starting and on its first message."""

    system: str
    points_per_message: int
    points: int
    points_per_second: float
    worker_cpu: float
    store_cpu: float


class Load:
    """The messages of one shape, one body a line, written once and used by every system of every round."""

    def __init__(self, directory: Path, messages: int, points: int) -> None:
        self.messages, self.points_per_message, self.total = messages, points, messages * points
        self.path = directory / f"lists-{messages}-{points}.jsonl"
        # One message, by which a worker shows what it spends once, such as what it imports late.
        self.first = self.path.with_suffix(".first")
        if not self.path.exists():
            with self.path.open("wb") as out:
                out.writelines(body + b"\n" for body in bodies(messages, points, "lists"))
            self.first.write_bytes(next(self.bodies("lists")) + b"\n")

    def bodies(self, form: Form) -> Iterator[bytes]:
        if form != "lists":
            yield from bodies(self.messages, self.points_per_message, form)
            return
        with self.path.open("rb") as lines:
            for line in lines:
                yield line.rstrip(b"\n")


def _environment(address: Address, engine: EmbeddedEngine) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_HERE),
        "BENCH_AMQP": address.url,
        "BENCH_GRPC_PORT": engine.url.rpartition(":")[2],
    }


@contextmanager
def _working(system: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[Any]]:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [str(PYTHON), str(_HERE / PEERS[system]), "work"]
    process: subprocess.Popen[Any] = subprocess.Popen(command, env=environment, cwd=_HERE, **quiet)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def create(engine: EmbeddedEngine, form: Form = "lists") -> None:
    """The collection of every benchmark, empty."""
    wanted = CreateCollection(size=DIMENSIONS)
    if form.startswith("sparse"):
        wanted = CreateCollection.model_validate({"sparse_vectors": {SPARSE: {}}})
    async with open_store(engine.url, None, 30.0) as store:
        await store.drop_collection(COLLECTION, 10.0)
        await store.create_collection(COLLECTION, wanted, 10.0)


async def stored(store: QdrantStore, expected: int) -> int:
    """How many points can be found; `expected` only where they have been counted.

    That takes the embedded engine 0.2 µs a point. Asked for twenty times a second it would be most of what it does.
    """
    points: int = (await store.describe_collection(COLLECTION, _STORE_SECONDS))["points"]
    return points if points != expected else await store.count(COLLECTION, None, _STORE_SECONDS)


async def _stored(engine: EmbeddedEngine, points: int) -> bool:
    async with open_store(engine.url, None, 30.0) as store:
        return await stored(store, points) == points


async def _idle_cpu(pid: int, begun: Callable[[], Awaitable[bool]]) -> float:
    """What a worker has spent once it has begun and has come to rest."""
    async with asyncio.timeout(_SECONDS):
        while not await begun():  # noqa: ASYNC110  (the broker has no event for it)
            await asyncio.sleep(0.1)
        before, now = -1.0, cpu_seconds(pid)
        while now > before:
            await asyncio.sleep(0.5)  # rest is what cannot be waited for: nothing happens
            before, now = now, cpu_seconds(pid)
    return now


async def peer(address: Address, directory: Path, system: str, load: Load) -> Compared:
    """One peer's worker emptying a queue that its own producer has filled."""
    with embedded_engine(directory) as engine:
        await create(engine)
        environment = _environment(address, engine)
        fill = [str(PYTHON), str(_HERE / PEERS[system]), "fill"]
        with _working(system, environment) as worker:
            await _idle_cpu(worker.pid, lambda: consumers(address, COLLECTION))
            await _done([*fill, str(load.first)], environment)
            start_up = await _idle_cpu(worker.pid, lambda: _stored(engine, load.points_per_message))
        await create(engine)
        await _done([*fill, str(load.path)], environment)
        with _working(system, environment) as worker:
            return await _watch(system, worker, start_up, engine, load)


async def our_start_up(address: Address, engine: EmbeddedEngine, form: Form, points: int) -> float:
    """CPU seconds of a memq worker that has written one message. Leaves the collection empty."""
    await create(engine, form)
    with running_worker(address, qdrant_url=engine.url) as worker:
        first = bodies(1, points, form)
        await publish(address.url, Names(address.prefix).commands, f"upsert.{COLLECTION}", first, form)
        spent = await _idle_cpu(worker.process.pid, lambda: _stored(engine, points))
        worker.terminate()
    await create(engine, form)
    return spent


async def ours(address: Address, directory: Path, load: Load, form: Form = "lists") -> Compared:
    """memq's worker, on the queue of its own topology."""
    with embedded_engine(directory) as engine:
        start_up = await our_start_up(address, engine, form, load.points_per_message)
        exchange = Names(address.prefix).commands
        await publish(address.url, exchange, f"upsert.{COLLECTION}", load.bodies(form), form)
        with running_worker(address, qdrant_url=engine.url) as worker:
            name = "memq" if form == "lists" else f"memq, {form}"
            result = await _watch(name, worker.process, start_up, engine, load)
            worker.terminate()
        return result


async def _done(command: list[str], environment: dict[str, str]) -> bytes:
    """What it printed. Raises RuntimeError when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=_HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(_SECONDS):
        out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {err.decode(errors='replace')[-2000:]}")
    return out


async def _watch(
    system: str, worker: subprocess.Popen[Any], start_up: float, engine: EmbeddedEngine, load: Load
) -> Compared:
    """Speed from the first points that the store shows on, so that nobody's start counts."""
    first: tuple[int, float] | None = None
    store_before = cpu_seconds(engine.pid)
    async with open_store(engine.url, None, 30.0) as store, asyncio.timeout(_SECONDS):
        while (count := await stored(store, load.total)) != load.total:
            if count and first is None:
                first = (count, time.perf_counter())
            if worker.poll() is not None:
                raise RuntimeError(f"{system}: its worker ended after {count} points")
            await asyncio.sleep(0.02)  # the store has no event for it
    ended = time.perf_counter()
    spent = cpu_seconds(worker.pid) - start_up
    seen, began = first or (0, ended)
    return Compared(
        system,
        load.points_per_message,
        load.total,
        (load.total - seen) / max(ended - began, 0.02),
        spent / load.total * 1e6,
        (cpu_seconds(engine.pid) - store_before) / load.total * 1e6,
    )


async def direct(address: Address, directory: Path, way: str, load: Load) -> Compared:
    """The official client without a queue."""
    with embedded_engine(directory) as engine:
        await create(engine)
        before = cpu_seconds(engine.pid)
        command = [str(PYTHON), str(_HERE / "direct.py"), way, str(load.path)]
        figures = json.loads(await _done(command, _environment(address, engine)))
        store = cpu_seconds(engine.pid) - before
    return Compared(
        way,
        load.points_per_message,
        load.total,
        load.total / figures["seconds"],
        figures["cpu"] / load.total * 1e6,
        store / load.total * 1e6,
    )
