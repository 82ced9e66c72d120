"""Vectors of every kind and their changes, from the producer and the command through a worker to the engine."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memq import Producer
from memq.errors import RemoteError
from tests.support.command import Memq
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

DENSE = {"size": 2, "distance": "dot"}


@pytest.fixture
async def producer(amqp: Address, engine: EmbeddedEngine) -> AsyncIterator[Producer]:
    with running_worker(amqp, qdrant_url=engine.url):
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            vectors: dict[str, Any] = {"": DENSE, "d": DENSE, "m": DENSE | {"multivector_config": {}}}
            await producer.collections.create("docs", vectors=vectors, sparse_vectors={"s": {}})
            yield producer


def plain(vector: Any) -> Any:
    """The vectors of a record, as they travel."""
    if isinstance(vector, dict):
        return {name: plain(each) for name, each in vector.items()}
    return vector.model_dump() if hasattr(vector, "model_dump") else vector


async def stored(producer: Producer, *ids: int) -> Any:
    return {each.id: plain(each.vector) for each in await producer.get("docs", ids, with_vector=True)}


async def test_hybrid_points_are_written_found_and_changed(producer: Producer) -> None:
    points: list[Any] = [
        {"id": 1, "vector": {"": [1, 0], "s": {"indices": [9, 2], "values": [1.0, 0.5]}, "m": np.eye(2)}},
        {"id": 2, "vector": {"d": [0, 1], "s": {"indices": [], "values": []}}},
        {"id": 3, "vector": [1, 1]},
    ]
    await producer.upsert("docs", points, wait=True)
    first = {"": [1.0, 0.0], "s": {"indices": [2, 9], "values": [0.5, 1.0]}, "m": [[1.0, 0.0], [0.0, 1.0]]}
    assert (await stored(producer, 1, 3)) == {1: first, 3: [1.0, 1.0]}
    hits = await producer.query("docs", {"indices": [9], "values": [2.0]}, using="s")
    assert [(hit.id, hit.score) for hit in hits] == [(1, 2.0)]
    hits = await producer.query("docs", [[1.0, 0.0], [0.0, 3.0]], using="m")
    assert [(hit.id, hit.score) for hit in hits] == [(1, 4.0)]
    receipt = await producer.update_vectors("docs", [{"id": 1, "vector": {"m": [[5, 5]]}}], wait=True)
    assert (receipt.points, receipt.applied) == (1, True)
    await producer.delete_vectors("docs", ["s", ""], [1], wait=True)
    assert await stored(producer, 1) == {1: {"m": [[5.0, 5.0]]}}


async def test_one_bad_vector_costs_one_message(producer: Producer) -> None:
    bad: list[Any] = [{"d": [1, 2, 3]}, {"s": [1, 2]}, {"d": [[1, 2]]}, {"x": [1, 2]}, {"indices": [1], "values": [1]}]
    codes: list[str] = []
    for number, vector in enumerate(bad):
        await producer.upsert("docs", [{"id": number, "vector": [number, 0]}])
        with pytest.raises(RemoteError) as refused:
            await producer.upsert("docs", [{"id": 100 + number, "vector": vector}], wait=True)
        codes.append(refused.value.code)
    assert codes == ["wrong_dimension", "invalid_vector", "invalid_vector", "unknown_vector", "invalid_vector"]
    await producer.upsert("docs", [{"id": 50, "vector": [1, 1]}], wait=True)
    assert (await producer.count("docs")).count == len(bad) + 1


async def test_modes_and_payload_paths(producer: Producer) -> None:
    await producer.upsert("docs", [{"id": 1, "vector": [1, 0], "payload": {"a": {"b": 1}}, "version": 3}], wait=True)
    new: list[Any] = [{"id": each, "vector": [2, 0], "payload": {}, "version": 9} for each in (1, 2)]
    await producer.upsert("docs", new, mode="insert_only", wait=True)
    assert await stored(producer, 1, 2) == {1: [1.0, 0.0], 2: [2.0, 0.0]}
    await producer.upsert("docs", ids=[2, 3], vectors=np.array([[3.0, 0], [3, 0]]), mode="update_only", wait=True)
    assert await stored(producer, 1, 2, 3) == {1: [1.0, 0.0], 2: [3.0, 0.0]}
    await producer.set_payload("docs", [1], set={"c": 2}, key="a", wait=True)
    (found,) = await producer.get("docs", [1])
    assert (found.payload, found.version) == ({"a": {"b": 1, "c": 2}}, 3)
    await producer.set_payload("docs", [1], clear=True, wait=True)
    (found,) = await producer.get("docs", [1])
    assert (found.payload, found.version) == ({}, 3)


async def test_vectors_of_unknown_points_are_refused_whole(producer: Producer) -> None:
    await producer.upsert("docs", [{"id": 1, "vector": [1, 0]}], wait=True)
    with pytest.raises(RemoteError) as refused:
        await producer.update_vectors("docs", [(1, [2, 0]), (404, [2, 0])], wait=True)
    assert refused.value.code == "unknown_point"
    assert await stored(producer, 1) == {1: [1.0, 0.0]}


@pytest.mark.parametrize("kind", ["jsonl", pytest.param("parquet", marks=pytest.mark.slow)])
async def test_a_file_of_every_kind_makes_its_collection(
    producer: Producer, amqp: Address, tmp_path: Path, kind: str
) -> None:
    rows = [
        {"id": n, "vector": {"d": [n, 1.0], "m": [[n, 0.0], [0.0, 1.0]], "s": {"indices": [n, 7], "values": [1.0, n]}}}
        for n in range(3)
    ]
    file = tmp_path / f"points.{kind}"
    if kind == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        sparse = pa.struct([("indices", pa.list_(pa.int64())), ("values", pa.list_(pa.float64()))])
        lists = pa.list_(pa.float64())
        struct = pa.struct([("d", lists), ("m", pa.list_(lists)), ("s", sparse)])
        vectors = pa.array([row["vector"] for row in rows], struct)
        pq.write_table(pa.table({"id": pa.array(range(3), pa.uint64()), "vector": vectors}), file)
    Memq(amqp).ok("upsert", file, "-c", "made", "--create", "--distance", "dot", "--wait")
    found = {each.id: plain(each.vector) for each in await producer.get("made", [0, 1, 2], with_vector=True)}
    assert found[2]["m"] == [[2.0, 0.0], [0.0, 1.0]]
    assert found[2]["s"] == {"indices": [2, 7], "values": [1.0, 2.0]}


async def test_a_score_that_is_no_finite_number_is_nan(producer: Producer) -> None:
    await producer.collections.create("halves", vectors={"": {"size": 1, "distance": "dot", "datatype": "float16"}})
    await producer.upsert("halves", [(1, [70_000.0]), (2, [1.0])], wait=True)
    found = await producer.query("halves", [1.0], limit=2)
    assert [point.id for point in found] == [1, 2]
    assert math.isnan(found.points[0].score)
    assert found.points[1].score == 1.0
