"""Stored numbers that JSON has none for, in every answer and every file, on the engine and on a Qdrant server."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pybase64
import pytest

from memq import Producer
from tests.support.command import Memq
from tests.support.stores import STORES, worker_on
from tests.support.wire import caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from stack.broker import Broker
    from tests.support.broker import Address

pytestmark = pytest.mark.integration

HALF = {"size": 2, "distance": "dot", "datatype": "float16"}
TOO_LARGE = 70_000.0  # becomes infinite as float16


@pytest.fixture(scope="module", params=STORES)
def place(
    request: pytest.FixtureRequest, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    with worker_on(request.param, broker, tmp_path_factory.mktemp(request.param)) as amqp:
        asyncio.run(fill(amqp))
        yield amqp


async def fill(amqp: Address) -> None:
    """Point 1 has infinite numbers in its vectors, point 2 has not."""
    async with Producer(amqp.url, prefix=amqp.prefix) as producer:
        vectors: dict[str, Any] = {"d": HALF, "m": HALF | {"multivector_config": {}}}
        sparse = {"s": {"index": {"datatype": "float16"}}}
        await producer.collections.create("mixed", vectors=vectors, sparse_vectors=sparse)
        await producer.collections.create("alone", vectors={"": HALF})
        points: list[Any] = []
        for number, large in ((1, TOO_LARGE), (2, 3.0)):
            vector = {"d": [large, 2.0], "m": [[1.0, 2.0], [large, 2.0]], "s": {"indices": [5], "values": [large]}}
            points.append({"id": number, "vector": vector, "payload": {"g": "a"}})
        await producer.upsert("mixed", points, wait=True)
        alone = [each | {"vector": each["vector"]["d"]} for each in points]
        await producer.upsert("alone", alone, wait=True)


@pytest.fixture
async def producer(place: Address) -> AsyncIterator[Producer]:
    async with Producer(place.url, prefix=place.prefix) as producer:
        yield producer


async def answers(producer: Producer, collection: str, using: str | None, with_vector: Any) -> dict[str, Any]:
    """Point 1's vector in each kind of answer that has vectors."""
    asked: dict[str, Any] = {"using": using, "with_vector": with_vector, "limit": 2}
    near = [1.0, 1.0]
    several = await asyncio.gather(*(producer.query(collection, near, **asked) for _ in range(3)))
    found: dict[str, Any] = {f"query {number}": answer.points for number, answer in enumerate(several)}
    found["get"] = (await producer.get(collection, [1, 2], with_vector=with_vector)).points
    found["scroll"] = (await producer.scroll(collection, with_vector=with_vector)).points
    found["groups"] = (await producer.query(collection, near, group_by="g", **asked)).points
    return {kind: next(point.vector for point in points if point.id == 1) for kind, points in found.items()}


def nan_as_text(found: list[float]) -> list[Any]:
    """The numbers in a form that equals itself."""
    return ["nan" if math.isnan(each) else each for each in found]


async def test_lists_have_nan_in_python(producer: Producer) -> None:
    for kind, vector in (await answers(producer, "mixed", "d", True)).items():
        assert isinstance(vector, dict), kind
        dense, rows, sparse = vector["d"], vector["m"], vector["s"]
        assert nan_as_text(dense) == ["nan", 2.0], kind
        assert list(map(nan_as_text, rows)) == [[1.0, 2.0], ["nan", 2.0]], kind
        assert sparse.indices == [5], kind
    for kind, vector in (await answers(producer, "alone", None, True)).items():
        assert isinstance(vector, list), kind
        assert nan_as_text(vector) == ["nan", 2.0], kind


def numbers(text: Any) -> list[float]:
    return np.frombuffer(pybase64.b64decode(text), "<f4").tolist()


async def test_base64_has_the_exact_numbers(producer: Producer) -> None:
    for kind, vector in (await answers(producer, "mixed", "d", "base64")).items():
        assert isinstance(vector, dict), kind
        assert numbers(vector["d"]) == [math.inf, 2.0], kind
        assert [numbers(row) for row in vector["m"]] == [[1.0, 2.0], [math.inf, 2.0]], kind
    for kind, vector in (await answers(producer, "alone", None, "base64")).items():
        assert numbers(vector) == [math.inf, 2.0], kind


def test_the_wire_has_null(place: Address) -> None:
    with caller(place.url, place.prefix) as asking:
        reply = asking.ask("get.alone", {"ids": [1, 2], "with_vector": True})
        assert [each["vector"] for each in reply["result"]] == [[None, 2.0], [3.0, 2.0]]
        query = {"vector": [1.0, 1.0], "with_vector": True}
        reply = asking.ask("queries.alone", {"queries": [query, query]})
        assert [each["status"] for each in reply["result"]] == [200, 200]


@pytest.mark.parametrize("collection", ["alone", "mixed"])
@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl"])
def test_files_have_the_exact_numbers(place: Address, tmp_path: Path, kind: str, collection: str) -> None:
    file = tmp_path / f"points.{kind}"
    Memq(place).ok("scroll", "-c", collection, file)
    if kind == "jsonl":
        rows = [json.loads(line)["vector"] for line in file.read_text("utf-8").splitlines()]
        found = [numbers(row if collection == "alone" else row["d"]) for row in rows]
    else:
        table = pq.read_table(file) if kind == "parquet" else pa.ipc.open_file(file).read_all()
        found = table.column("vector" if collection == "alone" else "vector.d").to_pylist()
    assert found == [[math.inf, 2.0], [3.0, 2.0]]


def test_commands_print_null(place: Address) -> None:
    memq = Memq(place)
    assert memq.json("get", "-c", "alone", "1", "--with-vector")["points"][0]["vector"] == [None, 2.0]


def test_infinite_numbers_are_refused_when_a_file_is_sent_again(place: Address, tmp_path: Path) -> None:
    file = tmp_path / "points.parquet"
    memq = Memq(place)
    memq.ok("scroll", "-c", "alone", file)
    refused = memq.fails(2, "upsert", file, "-c", "alone", "--wait")
    assert "vector" in refused
    assert "infinite" in refused
