"""Promises of the embedded engine as a process: it keeps what it answered for, alone, and stops when it should."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

from tests.contract.messages import dense, match, must, point, these
from tests.contract.store import Store, connected, refusal
from tests.support.engine import EmbeddedEngine, EngineRefusedError, embedded_engine
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    with embedded_engine(tmp_path / "data") as running:
        yield running


def visit(engine: EmbeddedEngine) -> AbstractAsyncContextManager[Store]:
    """A connection for as long as an `async with`, since it does not outlive the engine's end."""
    return connected("embedded", engine.address)


async def fill(store: Store) -> None:
    await store.create("kept")
    for batch in range(0, 2000, 100):
        await store.upsert(
            "kept", *[point(n, dense(1, n, 0, 0), n=n, tag="ab"[n % 2]) for n in range(batch, batch + 100)]
        )
    index = q.CreateFieldIndexCollection(
        collection_name="kept", wait=True, field_name="tag", field_type=q.FieldType.FieldTypeKeyword
    )
    await store.points.CreateFieldIndex(index)
    payload = payload_to_grpc({"changed": True})
    await store.points.SetPayload(
        q.SetPayloadPoints(collection_name="kept", wait=True, payload=payload, points_selector=these(7))
    )
    await store.points.Delete(q.DeletePoints(collection_name="kept", wait=True, points=these(8, 9)))


async def check_kept(store: Store) -> None:
    assert await store.names() == ["kept"]
    info = await store.describe("kept")
    assert info.config.params.vectors_config.params.size == 4
    assert set(info.payload_schema) == {"tag"}
    assert await store.count("kept") == 1998
    assert await store.count("kept", must(match("tag", keyword="a"))) == 999
    assert await store.payloads("kept", 7) == {7: {"n": 7, "tag": "b", "changed": True}}


@pytest.mark.parametrize("flush_seconds", [0.05, 3600], ids=["flushed on the way", "never flushed"])
async def test_everything_answered_for_survives_kill_9(tmp_path: Path, flush_seconds: float) -> None:
    with embedded_engine(tmp_path / "data", flush_seconds=flush_seconds) as engine:
        async with visit(engine) as store:
            await fill(store)
        assert engine.kill() == -signal.SIGKILL
        engine.start()
        async with visit(engine) as store:
            await check_kept(store)


async def test_a_stop_by_signal_is_clean_and_keeps_everything(engine: EmbeddedEngine) -> None:
    async with visit(engine) as store:
        await fill(store)
    assert engine.stop() == 0
    engine.start()
    async with visit(engine) as store:
        await check_kept(store)


async def test_a_stop_flushes_so_that_the_next_start_replays_nothing(tmp_path: Path) -> None:
    with embedded_engine(tmp_path / "data", flush_seconds=3600) as engine:
        async with visit(engine) as store:
            await store.create("c")
            await store.upsert("c", point(1, dense(1, 0, 0, 0)))
        (shard,) = (engine.data_dir / "shards").iterdir()
        (segment,) = (shard / "segments").iterdir()
        versions = segment / "mutable_id_tracker.versions"
        before = versions.stat().st_size if versions.exists() else 0
        engine.stop()
        assert versions.stat().st_size > before


async def test_writes_reach_the_disk_within_the_flush_interval(tmp_path: Path) -> None:
    with embedded_engine(tmp_path / "data", flush_seconds=0.05) as engine:
        async with visit(engine) as store:
            await store.create("c")
            await store.upsert("c", point(1, dense(1, 0, 0, 0)))
            (shard,) = (engine.data_dir / "shards").iterdir()
            (segment,) = (shard / "segments").iterdir()
            versions = segment / "mutable_id_tracker.versions"
            await until(lambda: versions.exists() and versions.stat().st_size > 0)


async def test_names_that_are_no_directory_names_work_and_survive(engine: EmbeddedEngine) -> None:
    odd = [".", "..", "a.b", "日本語 コレクション", "x" * 255, "я" * 255, "CON", "a b\tc", "%2e%2e"]
    async with visit(engine) as store:
        for n, name in enumerate(odd):
            await store.create(name)
            await store.upsert(name, point(n, dense(1, 0, 0, 0)))
    engine.kill()
    engine.start()
    async with visit(engine) as store:
        assert await store.names() == sorted(odd)
        for name in odd:
            assert await store.count(name) == 1
            assert await store.delete(name)
        assert await store.names() == []
    assert list((engine.data_dir / "shards").iterdir()) == []
    assert {path.name for path in engine.data_dir.parent.iterdir()} == {"data", "data.log"}


async def test_an_unfinished_creation_or_deletion_leaves_nothing(engine: EmbeddedEngine) -> None:
    """Both leave a shard that the registry does not know: put one there, as a crash between the two steps would."""
    async with visit(engine) as store:
        await store.create("kept")
        await store.create("half")
        await store.upsert("half", point(1, dense(1, 0, 0, 0)))
    engine.kill()
    registry = engine.data_dir / "collections.json"
    content = json.loads(registry.read_bytes())
    del content["collections"]["half"]
    registry.write_text(json.dumps(content))
    (engine.data_dir / "collections.new").write_text('{"cut off": ')
    (engine.data_dir / "shards" / "0000").mkdir()
    engine.start()
    async with visit(engine) as store:
        assert await store.names() == ["kept"]
        await store.create("half")
        assert await store.count("half") == 0
    assert len(list((engine.data_dir / "shards").iterdir())) == 2


@pytest.mark.parametrize("damage", ["missing", "cut off", "from the future"])
async def test_data_without_a_readable_registry_is_left_alone(engine: EmbeddedEngine, damage: str) -> None:
    async with visit(engine) as store:
        await store.create("c")
    engine.stop()
    registry = engine.data_dir / "collections.json"
    whole = registry.read_bytes()
    match damage:
        case "missing":
            registry.unlink()
        case "cut off":
            registry.write_bytes(whole[: len(whole) // 2])
        case _:
            registry.write_text('{"format": 99, "collections": {}}')
    with pytest.raises(EngineRefusedError, match=r"collections\.json"):
        engine.start()
    registry.write_bytes(whole)
    engine.start()
    async with visit(engine) as store:
        assert await store.names() == ["c"]


def test_a_second_owner_is_refused_and_told_what_to_do(engine: EmbeddedEngine) -> None:
    with pytest.raises(EngineRefusedError) as refused, embedded_engine(engine.data_dir):
        pass
    assert refused.value.code == 2
    (line,) = refused.value.stderr.splitlines()
    assert f"process {engine.pid};" in line
    assert f"MEMQ_QDRANT_URL={engine.url}" in line
    # and the first one never noticed
    assert engine.stop() == 0


def test_a_killed_owner_holds_nothing(engine: EmbeddedEngine) -> None:
    engine.kill()
    engine.start()
    assert engine.stop() == 0


def test_an_address_in_use_is_refused_in_one_line(engine: EmbeddedEngine, tmp_path: Path) -> None:
    with pytest.raises(EngineRefusedError) as refused, embedded_engine(tmp_path / "other", listen=engine.address):
        pass
    assert refused.value.code == 2
    assert f"MEMQ_EMBEDDED_LISTEN: cannot listen on {engine.address}" in refused.value.stderr
    assert f"MEMQ_QDRANT_URL=http://{engine.address}" in refused.value.stderr


async def test_low_disk_refuses_writes_in_the_servers_words_and_goes_on_reading(engine: EmbeddedEngine) -> None:
    async with visit(engine) as store:
        await store.create("c")
        await store.upsert("c", point(1, dense(1, 0, 0, 0), n=1))
    engine.stop()
    engine.start(min_free_bytes=2**62)
    full = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
    async with visit(engine) as store:
        writes = [
            store.upsert("c", point(2, dense(1, 0, 0, 0))),
            store.create("d"),
            store.points.Delete(q.DeletePoints(collection_name="c", wait=True, points=these(1))),
        ]
        for write in writes:
            assert await refusal(write) == (grpc.StatusCode.INTERNAL, full)
        assert await store.count("c") == 1
        assert await store.nearest("c", [1, 0, 0, 0]) == [1]
        # what frees space stays possible
        assert await store.delete("c")
    assert engine.stop() == 0


async def test_a_request_that_has_arrived_is_answered_before_the_end(engine: EmbeddedEngine) -> None:
    async with visit(engine) as store:
        await store.create("c")
        points = [point(n, dense(1, n, 0, 0), n=n) for n in range(1000)]
        # More work than is done between the signal and the end.
        batches = [q.UpsertPoints(collection_name="c", wait=True, points=points)] * 40
        calls = [asyncio.ensure_future(store.points.Upsert(batch)) for batch in batches]
        # The first answer says that the others, sent on the same connection, are there or on their way.
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        engine.process.terminate()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert await asyncio.to_thread(engine.ended) == 0
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert refused
    assert all(cast("grpc.aio.AioRpcError", each).code() is grpc.StatusCode.UNAVAILABLE for each in refused)
    engine.start()
    async with visit(engine) as store:
        assert await store.count("c") == 1000


PARENT = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "memq_engine", "--data-dir", sys.argv[1], "--listen", "127.0.0.1:0",
     "--parent-pid", str(os.getpid())], stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()
"""


async def test_the_engine_stops_by_itself_when_its_parent_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "data")]
    parent = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid, ready = (await parent.stdout.readline()).decode().split(" ", 1)
    assert ready.startswith("listening on ")
    engine = os.pidfd_open(int(pid))
    try:
        parent.kill()
        await parent.wait()
        # A process descriptor is readable once the process is over.
        await until(lambda: select.select([engine], [], [], 0)[0])
    finally:
        # For the case that the wait failed: nothing may outlive the tests.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(engine, signal.SIGKILL)
        os.close(engine)
    with embedded_engine(tmp_path / "data") as successor:
        assert successor.stop() == 0


async def identity(engine: EmbeddedEngine, expected: str | None = None) -> str:
    """The engine's identity as a worker asks for it. `expected` is the identity that the worker knows."""
    metadata = () if expected is None else (("memq-store", expected),)
    async with grpc.aio.insecure_channel(engine.address) as channel:
        service = cast("Any", q.QdrantStub(channel))
        call = service.HealthCheck(q.HealthCheckRequest(), metadata=metadata)
        await call
        return dict(await call.trailing_metadata())["memq-store"]


async def test_the_identity_is_of_the_directory_and_survives_kill_9(engine: EmbeddedEngine, tmp_path: Path) -> None:
    first = await identity(engine)
    engine.kill()
    engine.start()
    assert await identity(engine) == first
    engine.stop()
    engine.data_dir.rename(tmp_path / "moved")
    with embedded_engine(tmp_path / "moved") as moved:
        assert await identity(moved) == first
    engine.start()
    assert await identity(engine) != first


async def test_a_caller_that_expects_another_store_is_refused_everything(engine: EmbeddedEngine) -> None:
    own = await identity(engine)
    assert await identity(engine, own) == own
    for other in ("external", "5a7f1c0e-0000-4000-8000-000000000000"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await identity(engine, other)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert own in (caught.value.details() or "")


async def writes_and_health_refused(engine: EmbeddedEngine, store: Store) -> None:
    for refused in (store.upsert("c", point(1, dense(1, 0, 0, 0))), identity(engine)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await refused
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "data directory" in (caught.value.details() or "")


@pytest.mark.parametrize("gone", [".", "shards", "store-id"])
async def test_a_directory_removed_while_running_is_an_outage_that_says_so(engine: EmbeddedEngine, gone: str) -> None:
    async with visit(engine) as store:
        await store.create("c")
        await store.upsert("c", point(1, dense(1, 0, 0, 0)))
        target = engine.data_dir / gone
        target.unlink() if target.is_file() else shutil.rmtree(target)
        await writes_and_health_refused(engine, store)


@pytest.mark.parametrize("part", ["wal", "segments", "segments/*"])
async def test_no_write_is_acknowledged_once_a_part_of_its_shard_is_gone(engine: EmbeddedEngine, part: str) -> None:
    """Neither at once nor after a flush that failed; the message names the directory."""
    async with visit(engine) as store:
        await store.create("c")
        await store.upsert("c", point(1, dense(1, 0, 0, 0)))
        for target in (engine.data_dir / "shards").glob(f"*/{part}"):
            shutil.rmtree(target)
        if "*" in part:  # seen by the next flush of a write
            await store.upsert("c", point(2, dense(1, 0, 0, 0)))
            await until(lambda: b"flush failed" in engine.log_path.read_bytes())
        for _ in range(3):
            await writes_and_health_refused(engine, store)
            await asyncio.sleep(0.3)  # flushes that find nothing to do forgive nothing


BROKEN = [
    ("s", q.Vector(sparse=q.SparseVector(values=[1], indices=[3, 4]))),
    (
        "m",
        q.Vector(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector(data=[1, 0]), q.DenseVector(data=[1])])),
    ),
    ("m", q.Vector(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector()]))),
]


@pytest.mark.parametrize("slot_and_vector", BROKEN, ids=["unequal lengths", "ragged rows", "empty row"])
async def test_a_kill_after_a_refused_vector_leaves_a_collection_that_loads(
    tmp_path: Path, slot_and_vector: tuple[str, Any]
) -> None:
    """Nothing of it is in the WAL, which is replayed at the next start: it was validated before the update."""
    slot, vector = slot_and_vector
    with embedded_engine(tmp_path / "data", flush_seconds=3600) as engine:
        multi = q.VectorParams(size=2, distance=q.Distance.Dot, multivector_config=q.MultiVectorConfig())
        good = q.Vectors(
            vectors=q.NamedVectors(vectors={"s": q.Vector(sparse=q.SparseVector(values=[1], indices=[3]))})
        )
        bad = q.Vectors(vectors=q.NamedVectors(vectors={slot: vector}))
        async with visit(engine) as store:
            await store.create(
                "c",
                vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap(map={"m": multi})),
                sparse_vectors_config=q.SparseVectorConfig(map={"s": q.SparseVectorParams()}),
            )
            await store.upsert("c", q.PointStruct(id=q.PointId(num=1), vectors=good))
            for number in range(3):
                with pytest.raises(grpc.aio.AioRpcError):
                    await store.upsert("c", q.PointStruct(id=q.PointId(num=2 + number), vectors=bad))
        assert engine.kill() == -signal.SIGKILL
        engine.start()
        async with visit(engine) as store:
            assert await store.count("c") == 1
            await store.upsert("c", q.PointStruct(id=q.PointId(num=9), vectors=good))
            assert await store.count("c") == 2


@pytest.mark.parametrize("gone", ["shards", "collections.json"])
async def test_a_directory_whose_collections_vanished_is_not_opened_as_an_empty_one(
    engine: EmbeddedEngine, gone: str
) -> None:
    async with visit(engine) as store:
        await store.create("c")
    engine.stop()
    target = engine.data_dir / gone
    target.unlink() if target.is_file() else shutil.rmtree(target)
    with pytest.raises(EngineRefusedError) as caught:
        engine.start()
    assert caught.value.code == 2
    assert str(engine.data_dir) in caught.value.stderr


async def test_an_unreadable_identity_stops_the_start(engine: EmbeddedEngine) -> None:
    engine.stop()
    (engine.data_dir / "store-id").write_text("no uuid")
    with pytest.raises(EngineRefusedError) as caught:
        engine.start()
    assert caught.value.code == 2
