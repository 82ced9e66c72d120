"""Vectors of every kind, written and read by memq's adapter."""

from __future__ import annotations

import base64
import json
import random
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import grpc as q

from memq_schemas import ErrorCode, Filter, Get, Query, SetPayload
from memq_worker.errors import MessageError
from memq_worker.pipeline.contracts import mismatch
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.pipeline.decode.vector_changes import decode_replacement
from memq_worker.qdrant.client import open_store
from tests.unit.worker.fakes import FakeLink, delivery, upserting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from memq_worker.pipeline.command import UpsertPoints
    from memq_worker.pipeline.store import PointsBatch
    from memq_worker.qdrant.client import QdrantStore
    from tests.contract.store import Store


def text(kind: str, *numbers: float) -> str:
    return base64.b64encode(np.array(numbers, kind).tobytes()).decode()


@pytest.fixture
async def kinds(store: Store) -> AsyncIterator[str]:
    """A collection of an unnamed vector, a named one, a multivector and a sparse one."""
    name = f"memq-test-{secrets.token_hex(6)}"
    dense = q.VectorParams(size=2, distance=q.Distance.Dot)
    multi = q.VectorParams(size=2, distance=q.Distance.Dot, multivector_config=q.MultiVectorConfig())
    await store.collections.Create(
        q.CreateCollection(
            collection_name=name,
            vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap(map={"": dense, "d": dense, "m": multi})),
            sparse_vectors_config=q.SparseVectorConfig(map={"s": q.SparseVectorParams()}),
        )
    )
    yield name
    await store.delete(name)


@pytest.fixture
async def adapter(served: tuple[str, str]) -> AsyncIterator[QdrantStore]:
    async with open_store(f"http://{served[1]}", None, 10.0) as opened:
        yield opened


def command(collection: str, *vectors: Any) -> UpsertPoints:
    body = {"points": [{"id": number, "vector": vector} for number, vector in enumerate(vectors)]}
    points = decode_points(json.dumps(body).encode(), 100)
    return upserting(delivery(FakeLink(), 1, b"", f"upsert.{collection}"), collection, points)


SPARSE = {"indices": [7, 4294967295, 300], "values": [1.0, -2.0, 0.5]}
STORED: list[tuple[Any, Any]] = [
    ([1, 2], [1.0, 2.0]),
    ({"": [1, 2], "s": SPARSE}, {"": [1.0, 2.0], "s": {"indices": [7, 300, 4294967295], "values": [1.0, 0.5, -2.0]}}),
    ({"m": [[1, 2], [3, 4]]}, {"m": [[1.0, 2.0], [3.0, 4.0]]}),
    ({"m": [text("<f4", 1, 2), text("<f4", 3, 4)], "d": [5, 6]}, {"m": [[1.0, 2.0], [3.0, 4.0]], "d": [5.0, 6.0]}),
    ({"m": [1, 2]}, {"m": [[1.0, 2.0]]}),
    (
        {"s": {"indices": text("<u4", 3, 130), "values": text("<f4", 1, 2)}},
        {"s": {"indices": [3, 130], "values": [1.0, 2.0]}},
    ),
    ({"s": {"indices": [], "values": []}}, {"s": {"indices": [], "values": []}}),
]


async def test_what_is_written_is_read(adapter: QdrantStore, kinds: str) -> None:
    wanted = command(kinds, *(sent for sent, _ in STORED))
    assert mismatch(await adapter.contract(kinds), kinds, wanted) is None
    await adapter.upsert(kinds, wanted.points)
    found = await adapter.get(kinds, Get(ids=[*range(len(STORED))], with_vector=True), 10)
    assert [each["vector"] for each in sorted(found, key=lambda each: each["id"])] == [kept for _, kept in STORED]


async def test_vectors_are_read_as_base64(adapter: QdrantStore, kinds: str) -> None:
    await adapter.upsert(kinds, command(kinds, {"s": SPARSE, "m": [[1, 2], [3, 4]]}).points)
    (found,) = await adapter.get(kinds, Get(ids=[0], with_vector="base64"), 10)
    assert found["vector"] == {
        "s": {"indices": text("<u4", 7, 300, 2**32 - 1), "values": text("<f4", 1, 0.5, -2)},
        "m": [text("<f4", 1, 2), text("<f4", 3, 4)],
    }


REFUSED: dict[str, tuple[Any, ErrorCode]] = {
    "dense for sparse": ({"s": [1, 2]}, ErrorCode.INVALID_VECTOR),
    "rows for sparse": ({"s": [[1, 2]]}, ErrorCode.INVALID_VECTOR),
    "sparse for dense": ({"d": SPARSE}, ErrorCode.INVALID_VECTOR),
    "sparse for rows": ({"m": SPARSE}, ErrorCode.INVALID_VECTOR),
    "rows for dense": ({"d": [[1, 2]]}, ErrorCode.INVALID_VECTOR),
    "rows for the unnamed vector": ([[1, 2]], ErrorCode.INVALID_VECTOR),
    "sparse without a name": (SPARSE, ErrorCode.INVALID_VECTOR),
    "rows of another size": ({"m": [[1, 2, 3]]}, ErrorCode.WRONG_DIMENSION),
    "a single row of another size": ({"m": [1, 2, 3]}, ErrorCode.WRONG_DIMENSION),
    "another name": ({"x": SPARSE}, ErrorCode.UNKNOWN_VECTOR),
    "another name of rows": ({"x": [[1, 2]]}, ErrorCode.UNKNOWN_VECTOR),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_vectors_of_another_kind_never_reach_the_store(adapter: QdrantStore, kinds: str, kind: str) -> None:
    vector, code = REFUSED[kind]
    problem = mismatch(await adapter.contract(kinds), kinds, command(kinds, [1, 2], vector))
    assert problem is not None
    assert problem.code is code
    assert problem.message.startswith("points[1]: ")


@pytest.mark.parametrize(
    ("using", "vector"),
    [
        ("s", {"indices": [7, 9], "values": [1, 1]}),
        ("s", {"indices": text("<u4", 7), "values": text("<f4", 1)}),
        ("m", [[1, 0], [0, 1]]),
        ("m", [text("<f4", 1, 0)]),
        ("m", [1, 0]),
        ("d", [1, 0]),
        (None, [1, 0]),
    ],
)
async def test_the_short_form_of_a_query_takes_every_kind(
    adapter: QdrantStore, kinds: str, using: str | None, vector: Any
) -> None:
    near = {"": [1, 0], "d": [1, 0], "m": [[1, 0]], "s": {"indices": [7], "values": [1]}}
    await adapter.upsert(kinds, command(kinds, near).points)
    query = Query(vector=vector, using=using, with_vector=True)
    (hit,) = await adapter.query(kinds, query, 10)
    assert hit["vector"] == near


async def test_modes(adapter: QdrantStore, kinds: str) -> None:
    def write(mode: str, *ids: int, value: float, version: int | None = None) -> PointsBatch:
        points = [{"id": each, "vector": [value, 0], "version": version, "payload": {"v": value}} for each in ids]
        return decode_points(json.dumps({"points": points, "mode": mode}).encode(), 100)

    async def stored() -> dict[Any, Any]:
        found = await adapter.get(kinds, Get(ids=[1, 2, 3]), 10)
        return {each["id"]: (each["payload"]["v"], each.get("version")) for each in found}

    await adapter.upsert(kinds, write("upsert", 1, value=1, version=5))
    await adapter.upsert(kinds, write("insert_only", 1, 2, value=2, version=9))
    assert await stored() == {1: (1, 5), 2: (2, 9)}
    await adapter.upsert(kinds, write("update_only", 1, 2, 3, value=3, version=7))
    assert await stored() == {1: (3, 7), 2: (2, 9)}
    await adapter.upsert(kinds, write("update_only", 2, 3, value=4))
    assert await stored() == {1: (3, 7), 2: (4, None)}


async def test_vectors_are_replaced_and_removed_by_name(adapter: QdrantStore, kinds: str) -> None:
    def change(*points: dict[str, Any]) -> PointsBatch:
        return decode_replacement(json.dumps({"points": points}).encode(), 100)

    async def stored() -> Any:
        return [each["vector"] for each in await adapter.get(kinds, Get(ids=[0, 1], with_vector=True), 10)]

    await adapter.upsert(kinds, command(kinds, {"": [1, 0], "d": [1, 1]}, {"d": [1, 1]}).points)
    await adapter.update_vectors(kinds, change({"id": 0, "vector": {"s": SPARSE}}, {"id": 1, "vector": {"d": [2, 2]}}))
    kept = {"indices": [7, 300, 4294967295], "values": [1.0, 0.5, -2.0]}
    assert await stored() == [{"": [1.0, 0.0], "d": [1.0, 1.0], "s": kept}, {"d": [2.0, 2.0]}]
    await adapter.update_vectors(kinds, change({"id": 1, "vector": [3, 3]}))
    await adapter.delete_vectors(kinds, [0], None, ["s", "d"])
    assert await stored() == [[1.0, 0.0], {"": [3.0, 3.0], "d": [2.0, 2.0]}]
    await adapter.delete_vectors(kinds, [0], None, [""])
    assert (await stored())[0] == {}
    with pytest.raises(MessageError) as caught:
        await adapter.delete_vectors(kinds, [1, 404], None, ["d"])
    assert (caught.value.code, caught.value.message[:6]) == (ErrorCode.UNKNOWN_POINT, "ids[1]")
    assert (await stored())[1] == {"": [3.0, 3.0], "d": [2.0, 2.0]}
    everyone = Filter.model_validate({"must": [{"has_id": [0, 1]}]})
    await adapter.delete_vectors(kinds, None, everyone, ["d"])
    assert (await stored())[1] == [3.0, 3.0]


async def test_vectors_of_unknown_points_change_nothing(adapter: QdrantStore, kinds: str) -> None:
    await adapter.upsert(kinds, command(kinds, [1, 0]).points)
    body = {"points": [{"id": 0, "vector": [5, 5]}, {"id": 404, "vector": [5, 5]}]}
    with pytest.raises(MessageError) as caught:
        await adapter.update_vectors(kinds, decode_replacement(json.dumps(body).encode(), 100))
    assert caught.value.code is ErrorCode.UNKNOWN_POINT
    assert caught.value.message.startswith("points[1].id: ")
    (found,) = await adapter.get(kinds, Get(ids=[0], with_vector=True), 10)
    assert found["vector"] == [1.0, 0.0]


async def test_vectors_of_an_older_version_leave_a_point_alone(adapter: QdrantStore, kinds: str) -> None:
    points = [{"id": each, "vector": [1, 0], "version": each} for each in (1, 2, 3)] + [{"id": 4, "vector": [1, 0]}]
    await adapter.upsert(kinds, decode_points(json.dumps({"points": points}).encode(), 100))
    new = [{"id": each, "vector": [0, 1], "version": 2} for each in (1, 2, 3, 4)]
    await adapter.update_vectors(kinds, decode_replacement(json.dumps({"points": new}).encode(), 100))
    found = await adapter.get(kinds, Get(ids=[1, 2, 3, 4], with_vector=True), 10)
    assert {each["id"]: (each["vector"], each.get("version")) for each in found} == {
        1: ([0.0, 1.0], 1),
        2: ([0.0, 1.0], 2),
        3: ([1.0, 0.0], 3),
        4: ([0.0, 1.0], None),
    }


async def test_payloads_change_below_a_key_and_are_cleared(adapter: QdrantStore, kinds: str) -> None:
    point = {"id": 1, "vector": [1, 0], "version": 4, "payload": {"a": {"b": {"x": 1}}, "n": 1}}
    await adapter.upsert(kinds, decode_points(json.dumps({"points": [point]}).encode(), 100))

    async def changed(**change: Any) -> Any:
        await adapter.set_payload(kinds, SetPayload.model_validate({"ids": [1], **change}))
        (found,) = await adapter.get(kinds, Get(ids=[1]), 10)
        assert found["version"] == 4
        return found["payload"]

    assert await changed(set={"y": 2}, key="a.b") == {"a": {"b": {"x": 1, "y": 2}}, "n": 1}
    assert await changed(set={"z": 3}, key="new.deep") == {
        "a": {"b": {"x": 1, "y": 2}},
        "n": 1,
        "new": {"deep": {"z": 3}},
    }
    assert await changed(clear=True, set={"q": 1}) == {"q": 1}
    assert await changed(clear=True) == {}


PARTS: list[Any] = [
    [], [1, 2], [1, 2, 3], [1e38, -1e38], [1e39, 1], [[1, 2]], [[1, 2], [3, 4]], [[1], [2, 3]], [[]], [[1, 2], []],
    text("<f4", 1, 2), text("<f4", float("nan"), 1), [text("<f4", 1, 2), text("<f4", 3, 4)], "", "AAA", None,
    {"indices": [], "values": []}, {"indices": [3, 1], "values": [1, 2]}, {"indices": [1, 1], "values": [1, 2]},
    {"indices": [1], "values": []}, {"indices": [2**32 - 1], "values": [-0.0]}, {"indices": [2**32], "values": [1]},
    {"indices": text("<u4", 5, 5), "values": [1, 2]}, {"indices": text("<u4", 5, 4), "values": text("<f4", 1, 2)},
    {"indices": [1], "values": text("<f4", float("inf"))}, {"indices": [1]}, {"values": [1]}, [1, "2"], [True], {}, 7,
]  # fmt: skip


async def test_whatever_passes_the_checks_is_written(adapter: QdrantStore, kinds: str) -> None:
    """The engine fails for good on some vectors after it has logged them: none of these may reach it."""
    rng = random.Random(19)
    contract = await adapter.contract(kinds)
    codes: set[ErrorCode] = set()
    written = refused = 0
    for _ in range(400):
        names = rng.sample(["", "d", "m", "s", "x"], rng.choice([1, 1, 2, 3]))
        vector: Any = {name: rng.choice(PARTS) for name in names}
        body = {"points": [{"id": 0, "vector": rng.choice(PARTS) if rng.random() < 0.2 else vector}]}
        try:
            points = decode_points(json.dumps(body).encode(), 100)
            change = decode_replacement(json.dumps(body).encode(), 100)
        except MessageError as error:
            codes.add(error.code)
            refused += 1
            continue
        wanted = upserting(delivery(FakeLink(), 1, b"", f"upsert.{kinds}"), kinds, points)
        if mismatch(contract, kinds, wanted) is not None:
            refused += 1
            continue
        await adapter.upsert(kinds, points)
        await adapter.update_vectors(kinds, change)
        written += 1
    assert codes == {ErrorCode.INVALID_VECTOR, ErrorCode.EMPTY_VECTOR}
    assert min(written, refused) > 20
    assert await adapter.count(kinds, None, 10) == 1
