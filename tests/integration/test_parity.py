"""What the HTTP service could do, through the queue: real broker, real worker, real engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from memq import PointRow, Producer, RemoteError, point_id
from tests.support.broker import Address, own_address
from tests.support.wire import caller
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stack.broker import Broker

pytestmark = pytest.mark.integration

UNIT = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]


# One worker for the module: each test has a collection of its own.
@pytest.fixture(scope="module")
def address(broker: Broker) -> Iterator[Address]:
    with own_address(broker) as found:
        yield found


@pytest.fixture(scope="module")
def worker(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    data = tmp_path_factory.mktemp("engine") / "data"
    with running_worker(address, data_dir=data, max_points=50) as worker:
        yield worker
        assert worker.terminate() == 0, worker.text


@pytest.fixture
async def producer(worker: WorkerProcess, address: Address) -> AsyncIterator[Producer]:
    async with Producer(address.url, prefix=address.prefix, max_points_per_message=60) as producer:
        yield producer


@pytest.fixture
async def docs(producer: Producer) -> AsyncIterator[str]:
    name = point_id(time.time_ns())
    await producer.collections.create(name, 3)
    yield name
    await producer.collections.delete(name)


async def test_upsert_of_one_point(producer: Producer, docs: str) -> None:
    receipt = await producer.upsert(docs, [{"id": 1, "vector": UNIT[0], "payload": {"a": 1}}], wait=True)
    assert (receipt.points, receipt.applied) == (1, True)
    (found,) = (await producer.get(docs, [1], with_vector=True)).points
    assert (found.id, found.payload, found.vector) == (1, {"a": 1}, UNIT[0])


async def test_upsert_of_a_batch(producer: Producer, docs: str) -> None:
    vectors = np.random.default_rng(1).standard_normal((40, 3))
    await producer.upsert(docs, ids=range(40), vectors=vectors, wait=True)
    assert (await producer.count(docs)).count == 40


async def test_uuid_ids(producer: Producer, docs: str) -> None:
    identity = point_id("doc", 7)
    await producer.upsert(docs, [{"id": identity.upper(), "vector": UNIT[0]}], wait=True)
    assert [point.id for point in (await producer.get(docs, [identity])).points] == [identity]


async def test_the_same_id_again_replaces_the_point(producer: Producer, docs: str) -> None:
    for text in ("first", "second"):
        await producer.upsert(docs, [{"id": 1, "vector": UNIT[0], "payload": {"text": text}}], wait=True)
    (found,) = (await producer.get(docs, [1])).points
    assert found.payload == {"text": "second"}


async def test_more_points_than_allowed_are_refused(producer: Producer, docs: str) -> None:
    with pytest.raises(RemoteError, match="points: 51 in one message, this worker takes 50") as caught:
        await producer.upsert(docs, ids=range(51), vectors=np.ones((51, 3)), wait=True)
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("too_many_points", 413, False)
    assert (await producer.count(docs)).count == 0


async def test_a_wrong_dimension_is_refused_whole(producer: Producer, docs: str, address: Address) -> None:
    with pytest.raises(RemoteError, match=r"points\[0\]: 2 dimensions, collection .* takes 3") as caught:
        await producer.upsert(docs, [{"id": 1, "vector": [1.0, 2.0]}], wait=True)
    assert (caught.value.code, caught.value.status) == ("wrong_dimension", 422)
    points = [{"id": 1, "vector": UNIT[0]}, {"id": 2, "vector": [1.0, 2.0]}]
    with caller(address.url, address.prefix) as client:
        reply = client.write(f"upsert.{docs}", {"points": points})
    assert reply["error"]["message"].startswith("points[1]: 2 dimensions")
    assert (await producer.count(docs)).count == 0


async def test_query(producer: Producer, docs: str) -> None:
    await producer.upsert(docs, ids=[1, 2, 3], vectors=UNIT, payloads=[{"n": n} for n in range(3)], wait=True)
    answer = await producer.query(docs, [1.0, 0.0, 0.0])
    assert [point.id for point in answer.points] == [1, 2, 3]
    assert answer.points[0].score == pytest.approx(1.0)
    assert answer.points[1].score == pytest.approx(0.6)
    assert answer.points[1].payload == {"n": 1}
    assert answer.elapsed_ms > 0


async def test_query_with_a_threshold_a_limit_an_offset_and_a_filter(producer: Producer, docs: str) -> None:
    await producer.upsert(docs, ids=[1, 2, 3], vectors=UNIT, payloads=[{"n": n} for n in range(3)], wait=True)

    async def ids(**how: object) -> list[object]:
        return [point.id for point in (await producer.query(docs, UNIT[0], **how)).points]  # type: ignore[arg-type]

    assert await ids(score_threshold=0.5) == [1, 2]
    assert await ids(limit=1) == [1]
    assert await ids(limit=1, offset=1) == [2]
    assert await ids(filter={"must": [{"key": "n", "range": {"gte": 1}}]}) == [2, 3]


async def test_an_empty_vector_is_refused_by_the_worker_too(producer: Producer, docs: str, address: Address) -> None:
    with caller(address.url, address.prefix) as client:
        reply = client.ask(f"query.{docs}", {"vector": []})
        assert (reply["status"], reply["error"]["code"]) == (422, "empty_vector")
        assert reply["elapsed_ms"] >= 0
        empty = client.write(f"upsert.{docs}", {"points": []})
        assert (empty["status"], empty["error"]["code"]) == (422, "empty_batch")
        assert empty["elapsed_ms"] >= 0


async def test_collections_are_listed_and_described(producer: Producer, docs: str) -> None:
    assert docs in (await producer.collections.list()).names
    described = (await producer.collections.describe(docs)).collection
    assert described.vectors[""].size == 3
    assert described.vectors[""].distance == "cosine"


async def test_delete_and_payload(producer: Producer, docs: str) -> None:
    await producer.upsert(docs, ids=[1, 2, 3], vectors=UNIT, payloads=[{"n": n} for n in range(3)], wait=True)
    await producer.delete(docs, ids=[1], wait=True)
    await producer.delete(docs, filter={"must": [{"key": "n", "match": {"value": 1}}]}, wait=True)
    await producer.set_payload(docs, ids=[3], set={"color": "red"}, unset=["n"], wait=True)
    (left,) = (await producer.get(docs, [1, 2, 3])).points
    assert (left.id, left.payload) == (3, {"color": "red"})
    await producer.set_payload(docs, ids=[3], overwrite={"only": 1}, wait=True)
    assert (await producer.get(docs, [3])).points[0].payload == {"only": 1}


async def test_versions_let_the_last_writer_win(producer: Producer, docs: str) -> None:
    for version, text in ((5, "five"), (3, "three"), (7, "seven"), (7, "again")):
        row: PointRow = {"id": 1, "vector": UNIT[0], "payload": {"text": text}, "version": version}
        await producer.upsert(docs, [row], wait=True)
    (found,) = (await producer.get(docs, [1])).points
    assert (found.payload, found.version) == ({"text": "seven"}, 7)


async def test_mixed_versions_in_one_message(producer: Producer, docs: str) -> None:
    await producer.upsert(docs, ids=[1, 2], vectors=UNIT[:2], versions=[5, 5], wait=True)
    rows: list[PointRow] = [
        {"id": 1, "vector": UNIT[2], "version": 4},
        {"id": 2, "vector": UNIT[2], "version": 6},
        {"id": 3, "vector": UNIT[2]},
    ]
    await producer.upsert(docs, rows, wait=True)
    found = {point.id: point.vector for point in (await producer.get(docs, [1, 2, 3], with_vector=True)).points}
    assert found[1] == pytest.approx(UNIT[0])
    assert found[2] == pytest.approx(UNIT[2])
    assert found[3] == pytest.approx(UNIT[2])


async def test_named_vectors(producer: Producer) -> None:
    name = point_id("named", time.time_ns())
    await producer.collections.create(name, vectors={"a": {"size": 2}, "b": {"size": 3, "distance": "dot"}})
    await producer.upsert(name, [{"id": 1, "vector": {"a": [1.0, 0.0], "b": UNIT[1]}}], wait=True)
    answer = await producer.query(name, UNIT[1], using="b", with_vector=True)
    assert answer.points[0].score == pytest.approx(1.0)
    with pytest.raises(RemoteError, match="named vectors: 'a', 'b'") as caught:
        await producer.upsert(name, [{"id": 2, "vector": [1.0, 0.0]}], wait=True)
    assert caught.value.code == "unknown_vector"


async def test_log_lines_have_the_fields_of_the_predecessor(
    producer: Producer, docs: str, worker: WorkerProcess
) -> None:
    await producer.upsert(docs, ids=[1, 2, 3], vectors=UNIT, wait=True)
    await producer.query(docs, UNIT[0])
    written = worker.until("batch written", collection=docs)
    assert written["vector_count"] == 3
    assert written["elapsed_ms"] > 0
    # Rounded to a tenth, which is more than one percent of a slow write's.
    assert written["throughput_vec_per_sec"] == pytest.approx(3000 / written["elapsed_ms"], rel=0.01, abs=0.06)
    assert (written["level"], written["logger"], written["op"]) == ("INFO", "memq_worker.pipeline.lines", "upsert")
    assert written["timestamp"].endswith("Z")
    answered = worker.until("request answered", op="query", collection=docs)
    assert answered["elapsed_ms"] > 0
