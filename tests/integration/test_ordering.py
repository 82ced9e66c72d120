"""What versions guarantee, against a model: the real store adapter and engine, then whole workers."""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memq import Producer
from memq_schemas import CreateCollection, Delete, Filter, Get, SetPayload
from memq_worker.errors import MessageError
from memq_worker.pipeline.apply import merge_points, merge_versions
from memq_worker.pipeline.command import DeletePoints, UpsertPoints
from memq_worker.pipeline.store import PointsBatch
from memq_worker.qdrant.client import QdrantStore, open_store
from tests.support.until import until
from tests.support.worker import WorkerProcess, running_worker
from tests.unit.worker.fakes import FakeLink, delivery, upserting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

IDS = range(6)
ROW = np.ones(2, dtype="<f4").tobytes()


@pytest.fixture
async def store(engine: EmbeddedEngine) -> AsyncIterator[QdrantStore]:
    async with open_store(engine.url, None, 20.0) as store:
        yield store


@pytest.fixture
async def collection(store: QdrantStore) -> str:
    name = f"docs-{secrets.token_hex(4)}"
    await store.create_collection(name, CreateCollection(size=2), 20.0)
    return name


@dataclass
class Model:
    """What is stored, as the documentation says it: id -> (version, payload)."""

    points: dict[int, tuple[int | None, dict[str, Any]]] = field(default_factory=dict)

    def upsert(self, point: int, version: int | None, payload: dict[str, Any]) -> None:
        stored = self.points.get(point, (None, {}))[0]
        if version is None or stored is None or stored < version:
            self.points[point] = (version, payload)

    def delete(self, point: int, version: int | None) -> None:
        stored = self.points.get(point, (None, {}))[0]
        if version is None or stored is None or stored < version:
            self.points.pop(point, None)


async def stored(store: QdrantStore, collection: str) -> dict[int, tuple[int | None, dict[str, Any]]]:
    found = await store.get(collection, Get(ids=list(IDS)), 20.0)
    return {point["id"]: (point.get("version"), point["payload"]) for point in found}


def upserted(ids: list[int], versions: list[int | None], mark: int) -> UpsertPoints:
    carried = versions if any(v is not None for v in versions) else None
    points = PointsBatch([*ids], {"": [ROW] * len(ids)}, [{"mark": mark} for _ in ids], carried)
    return upserting(delivery(FakeLink(), mark, b""), "docs", points)


@pytest.mark.parametrize("seed", range(4))
async def test_the_store_is_what_the_documentation_says_after_every_write(
    store: QdrantStore, collection: str, seed: int
) -> None:
    chance, model = random.Random(seed), Model()
    for step in range(120):
        ids = chance.sample(IDS, chance.randint(1, 3))
        what = chance.choice(["upsert", "versioned", "merged", "delete", "older", "older merged", "overwrite", "set"])
        if what in ("upsert", "versioned"):
            versions = [None if what == "upsert" or chance.random() < 0.1 else chance.randint(0, 9) for _ in ids]
            await store.upsert(collection, upserted(ids, versions, step).points)
            for point, version in zip(ids, versions, strict=True):
                model.upsert(point, version, {"mark": step})
        elif what == "merged":
            commands = [
                upserted(chance.sample(IDS, 2), [chance.randint(0, 9), chance.randint(0, 9)], n)
                for n in (1000, 2000, 3000)
            ]
            await store.upsert(collection, merge_points(commands)[0])
            for command in commands:
                for point, version in zip(command.ids, command.points.versions or (), strict=True):
                    model.upsert(int(point), version, {"mark": command.delivery.tag})
        elif what == "delete":
            await store.delete(collection, [*ids], None)
            for point in ids:
                model.delete(point, None)
        elif what == "older":
            version = chance.randint(0, 10)
            await store.delete_older(collection, dict.fromkeys(ids, version))
            for point in ids:
                model.delete(point, version)
        elif what == "older merged":
            deletes = [Delete(ids=[*chance.sample(IDS, 2)], version=chance.randint(0, 10)) for _ in range(3)]
            await store.delete_older(
                collection, merge_versions([DeletePoints(delivery(FakeLink(), 1, b""), "docs", d) for d in deletes])
            )
            for each in deletes:
                for point in each.ids or ():
                    model.delete(int(point), each.version)
        elif there := [point for point in ids if point in model.points]:
            if what == "overwrite":
                await store.set_payload(collection, SetPayload(ids=[*there], overwrite={"whole": step}))
            else:
                await store.set_payload(collection, SetPayload(ids=[*there], set={"part": step}))
            for point in there:
                version, payload = model.points[point]
                model.points[point] = (version, {"whole": step} if what == "overwrite" else {**payload, "part": step})
        assert await stored(store, collection) == model.points, f"step {step}: {what} {ids}"


async def test_overwriting_by_filter_keeps_the_versions_of_as_many_points_as_there_are(
    store: QdrantStore, collection: str
) -> None:
    count = 2500
    versions: list[int | None] = [None if n % 10 == 0 else n % 7 for n in range(count)]
    points = PointsBatch([*range(count)], {"": [ROW] * count}, [{"n": n} for n in range(count)], versions)
    await store.upsert(collection, points)
    some = Filter.model_validate({"must": [{"key": "n", "range": {"gte": 100}}]})
    await store.set_payload(collection, SetPayload(filter=some, overwrite={"new": True}))
    found = await store.get(collection, Get(ids=[*range(count)]), 20.0)
    for point in found:
        number = point["id"]
        assert point.get("version") == versions[number]
        assert point["payload"] == ({"new": True} if number >= 100 else {"n": number})


async def test_overwriting_a_point_that_is_not_there_changes_none(store: QdrantStore, collection: str) -> None:
    await store.upsert(collection, upserted([1], [3], 1).points)
    with pytest.raises(MessageError, match=r"ids\[1\]: no such point") as caught:
        await store.set_payload(collection, SetPayload(ids=[1, 2], overwrite={"new": True}))
    assert caught.value.code == "unknown_point"
    assert await stored(store, collection) == {1: (3, {"mark": 1})}


async def test_two_workers_end_at_the_highest_version_whatever_arrives_when(
    amqp: Address, engine: EmbeddedEngine, tmp_path: Path
) -> None:
    chance, name = random.Random(7), f"docs-{secrets.token_hex(4)}"
    with (
        running_worker(amqp, qdrant_url=engine.url, prefetch=8),
        running_worker(amqp, qdrant_url=engine.url, prefetch=8, worker_name="second"),
    ):
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=30, max_points_per_message=3) as producer:
            await producer.collections.create(name, 2)
            changes = [(point, version) for point in range(20) for version in range(1, 16)] * 2
            chance.shuffle(changes)
            await producer.upsert(
                name,
                ids=[point for point, _ in changes],
                vectors=np.ones((len(changes), 2)),
                payloads=[{"at": version} for _, version in changes],
                versions=[version for _, version in changes],
            )
            await producer.delete(
                name, [0], wait=True
            )  # after it: late writes may bring it back, newer ones may not go

            async def settled() -> bool:
                found = (await producer.get(name, [*range(20)])).points
                return {(p.id, p.version, (p.payload or {})["at"]) for p in found} == {
                    (n, 15, 15) for n in range(1, 20)
                }

            await until(settled, within=30)
            await producer.delete(name, [1, 2], version=15, wait=True)
            await producer.delete(name, [3, 4], version=16, wait=True)
            left = await producer.get(name, [1, 2, 3, 4])
            assert sorted(point.id for point in left) == [1, 2], "only what is stored with a lower version is deleted"


@pytest.mark.slow
async def test_strict_order_holds_while_workers_are_killed(amqp: Address, engine: EmbeddedEngine) -> None:
    name = f"docs-{secrets.token_hex(4)}"
    settings = {"qdrant_url": engine.url, "order": "strict", "prefetch": 50}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(running_worker(amqp, worker_name=f"w{number}", **settings)) for number in range(2)
        ]
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=30, max_in_flight=1) as producer:
            await producer.collections.create(name, 2)

            async def send(start: int) -> None:
                for step in range(start, start + 100):
                    await producer.upsert(name, [{"id": step % 7, "vector": [1.0, 1.0], "payload": {"step": step}}])

            for life in range(3):
                sending = asyncio.create_task(send(100 * life))
                busy = await until(lambda: next((w for w in workers if w.logged("batch written")), None))
                assert busy is not None
                assert not any(w.logged("batch written") for w in workers if w is not busy), "one at a time"
                busy.kill()
                workers.remove(busy)
                workers.append(stack.enter_context(running_worker(amqp, worker_name=f"x{life}", **settings)))
                await sending

            async def settled() -> bool:
                found = await producer.get(name, [*range(7)])
                return {p.id: (p.payload or {})["step"] for p in found} == {n % 7: n for n in range(300)}

            await until(settled, within=30)


async def test_workers_of_another_order_say_what_to_do(amqp: Address, engine: EmbeddedEngine) -> None:
    with running_worker(amqp, qdrant_url=engine.url):
        other = WorkerProcess(
            {
                "amqp_url": amqp.url,
                "prefix": amqp.prefix,
                "qdrant_url": engine.url,
                "order": "strict",
                "metrics_port": 0,
            }
        )
        assert other.ended() == 2
        assert "was declared with MEMQ_ORDER=relaxed and this worker has strict" in other.text
