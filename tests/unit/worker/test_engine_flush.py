from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from qdrant_client import grpc as q

from memq_engine.collection import Collection
from memq_engine.engine import Engine
from memq_engine.options import EngineOptions
from memq_engine.proto import messages
from memq_engine.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

# A point has about 400 bytes, so these are a small request and a large one.
FEW, MANY = 1, 500


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[tuple[Engine, Any]]:
    engine = Engine(EngineOptions(data_dir=directory, listen="127.0.0.1:0"))
    engine.load()
    vectors = messages.VectorsConfig(params=messages.VectorParams(size=96, distance=1))
    for name in ("docs", "live"):
        engine.create(messages.CreateCollection(collection_name=name, vectors_config=vectors))
    server = Server(engine, "127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield engine, q.PointsStub(channel)
    finally:
        await server.stop(1)
        engine.close()


def upsert(collection: str, points: int) -> q.UpsertPoints:
    vectors = q.Vectors(vector=q.Vector(data=[0.5] * 96))
    rows = [q.PointStruct(id=q.PointId(num=number), vectors=vectors) for number in range(points)]
    return q.UpsertPoints(collection_name=collection, wait=True, points=rows)


class Disk:
    """Keeps each `Collection.sync` waiting until told, in place of a slow disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.done = threading.Semaphore(0)
        real = Collection.sync

        def sync(collection: Collection) -> None:
            self._loop.call_soon_threadsafe(self.begun.put_nowait, collection.name)
            assert self.done.acquire(timeout=60)
            real(collection)

        monkeypatch.setattr(Collection, "sync", sync)


async def test_small_requests_are_served_while_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as (engine, points):
        await points.Upsert(upsert("docs", MANY))
        disk = Disk(monkeypatch)
        flush = asyncio.create_task(engine.flush())
        assert await disk.begun.get() == "docs"
        await points.Upsert(upsert("docs", MANY))  # at first, beside all requests
        disk.done.release()
        assert await disk.begun.get() == "docs"
        large = asyncio.ensure_future(points.Upsert(upsert("docs", MANY)))
        for _ in range(20):
            await points.Upsert(upsert("live", FEW))
        assert not large.done()
        disk.done.release(3)  # the other collection was written to meanwhile
        assert (await large).result.status == q.UpdateStatus.Completed
        await flush


async def test_a_collection_deleted_while_its_files_are_written_is_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as (engine, points):
        await points.Upsert(upsert("docs", FEW))
        disk = Disk(monkeypatch)
        flush = asyncio.create_task(engine.flush())
        await disk.begun.get()
        assert engine.delete("docs")
        disk.done.release(2)
        await flush
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_was_synced_is_flushed(tmp_path: Path) -> None:
    async with served(tmp_path) as (engine, points):
        await points.Upsert(upsert("docs", MANY))
        assert engine.collection("docs").dirty
        await engine.flush()
        assert not engine.collection("docs").dirty
