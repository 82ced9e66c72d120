from __future__ import annotations

import base64
import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from memq_schemas import ErrorCode, Operation, Upsert
from memq_schemas.sparse_vectors import SparseVector
from memq_schemas.vectors import to_array
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import ChangePayload, DeletePoints, Request, UpsertPoints
from memq_worker.pipeline.decode.bodies import Limits, decode
from memq_worker.pipeline.decode.points import decode_points
from tests.unit.worker.fakes import FakeLink, delivery

LIMITS = Limits(max_body_bytes=100_000, max_points=100)
NAN = base64.b64encode(struct.pack("<2f", float("nan"), 1)).decode()


def take(body: Any, key: str = "upsert.docs", **more: Any) -> Any:
    return decode(delivery(FakeLink(), 1, body, key, **more), LIMITS)


def refusal(body: Any, key: str = "upsert.docs", **more: Any) -> MessageError:
    with pytest.raises(MessageError) as caught:
        take(body, key, **more)
    return caught.value


def one(**changes: Any) -> dict[str, Any]:
    return {"points": [{"id": 1, "vector": [1.0, 2.0]} | changes]}


def test_vectors_become_the_bytes_they_are_on_the_wire() -> None:
    text = base64.b64encode(struct.pack("<2f", 1.5, -2)).decode()
    points = take({"points": [{"id": 7, "vector": [1.5, -2]}, {"id": 8, "vector": text}]}).points
    assert points.columns == {"": [struct.pack("<2f", 1.5, -2)] * 2}
    assert points.ids == [7, 8]


def test_ids_come_out_as_qdrant_returns_them() -> None:
    points = take({"points": [{"id": "0000000A-0000-4000-8000-00000000ABCD", "vector": [1]}]}).points
    assert points.ids == ["0000000a-0000-4000-8000-00000000abcd"]


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"points": []}, ErrorCode.EMPTY_BATCH, "at least one"),
        ({"points": [{"id": i, "vector": [1]} for i in range(101)]}, ErrorCode.TOO_MANY_POINTS, "takes 100"),
        ({}, ErrorCode.INVALID, "points"),
        ([], ErrorCode.INVALID, "object"),
        (b"{", ErrorCode.MALFORMED, "not JSON"),
        (b"", ErrorCode.MALFORMED, "not JSON"),
        (b"\xff\xfe", ErrorCode.MALFORMED, "not JSON"),
        (b"[" * 60_000, ErrorCode.INVALID, "object"),
        (b'{"points":' + b"[" * 60_000, ErrorCode.INVALID, "points[0]"),
        (
            b'{"points":[{"id":1,"vector":[1],"payload":{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}}]}",
            ErrorCode.TOO_LARGE,
            "bytes",
        ),
        (
            b'{"points":[{"id":1,"vector":[1],"payload":{"a":' + b"[" * 40_000 + b"]" * 40_000 + b"}}]}",
            ErrorCode.MALFORMED,
            "nested",
        ),
        (one(id=-1), ErrorCode.INVALID, "points[0].id"),
        (one(id=2**64), ErrorCode.INVALID, "points[0].id"),
        (one(id=True), ErrorCode.INVALID, "points[0].id"),
        (one(id=1.0), ErrorCode.INVALID, "points[0].id"),
        (one(id="document-7"), ErrorCode.INVALID, "point_id"),
        (one(id=None), ErrorCode.INVALID, "points[0].id"),
        (one(vector=[]), ErrorCode.EMPTY_VECTOR, "points[0].vector"),
        (one(vector=""), ErrorCode.EMPTY_VECTOR, "points[0].vector"),
        (one(vector={}), ErrorCode.EMPTY_VECTOR, "points[0].vector"),
        (one(vector={"a": []}), ErrorCode.EMPTY_VECTOR, "points[0].vector"),
        (one(vector=["1"]), ErrorCode.INVALID_VECTOR, "points[0].vector[0]"),
        (one(vector=[True]), ErrorCode.INVALID_VECTOR, "points[0].vector[0]"),
        (one(vector=[1e39]), ErrorCode.INVALID_VECTOR, "float32"),
        (b'{"points":[{"id":1,"vector":[1e999]}]}', ErrorCode.INVALID_VECTOR, "points[0].vector[0]"),
        (b'{"points":[{"id":1,"vector":[NaN]}]}', ErrorCode.MALFORMED, "not JSON"),
        (one(vector=NAN), ErrorCode.INVALID_VECTOR, "points[0].vector: NaN"),
        (one(vector="AAA"), ErrorCode.INVALID_VECTOR, "base64"),
        (one(vector="AAAA"), ErrorCode.INVALID_VECTOR, "multiple of 4"),
        (one(vector="é" * 4), ErrorCode.INVALID_VECTOR, "base64"),
        (one(payload=[1]), ErrorCode.INVALID, "points[0].payload"),
        (one(payload={"_version": 1}), ErrorCode.INVALID_PAYLOAD, "_version"),
        (one(payload={"n": 2**63}), ErrorCode.INVALID_PAYLOAD, "64 bits"),
        (one(version=-1), ErrorCode.INVALID, "points[0].version"),
        (one(version=2**53), ErrorCode.INVALID, "points[0].version"),
        (one(vektor=[1]), ErrorCode.INVALID, "vektor"),
        (one(vector={"indices": [1], "values": []}), ErrorCode.INVALID_VECTOR, "points[0].vector.values"),
        (one(vector={"t": {"indices": [1, 2, 1], "values": [1, 2, 3]}}), ErrorCode.INVALID_VECTOR, "vector.t.indices"),
        (one(vector={"t": {"indices": [-1], "values": [1]}}), ErrorCode.INVALID_VECTOR, "vector.t.indices"),
        (one(vector={"t": {"indices": [2**32], "values": [1]}}), ErrorCode.INVALID_VECTOR, "vector.t.indices"),
        (one(vector={"t": {"indices": "AAA", "values": [1]}}), ErrorCode.INVALID_VECTOR, "vector.t.indices"),
        (one(vector={"t": {"indices": [1, 2], "values": NAN}}), ErrorCode.INVALID_VECTOR, "points[0].vector.t: NaN"),
        (one(vector={"t": {"indices": [1], "values": [1e39]}}), ErrorCode.INVALID_VECTOR, "vector.t.values"),
        (one(vector={"t": {"indices": [1]}}), ErrorCode.INVALID_VECTOR, "values"),
        (one(vector=[[1, 2], [3]]), ErrorCode.INVALID_VECTOR, "points[0].vector[1]: 1 numbers"),
        (one(vector={"m": [[1], []]}), ErrorCode.INVALID_VECTOR, "points[0].vector.m[1]"),
        (one(vector=[[]]), ErrorCode.INVALID_VECTOR, "points[0].vector[0]"),
        (one(vector=[[1], "AACAPw=="]), ErrorCode.INVALID_VECTOR, "points[0].vector[1]"),
        (one(vector=[[0.0] * 1024] * 1025), ErrorCode.TOO_LARGE, "bytes"),
    ],
)
def test_a_bad_upsert_is_refused_naming_the_field(body: Any, code: ErrorCode, says: str) -> None:
    error = refusal(body)
    assert error.code is code
    assert says in error.answer


def test_the_first_bad_point_is_named_by_index() -> None:
    body = {"points": [{"id": 1, "vector": [1]}, {"id": 2, "vector": [1]}, {"id": "x", "vector": [1]}]}
    assert "points[2].id" in refusal(body).message
    body["points"][2] = {"id": 3, "vector": NAN}
    assert "points[2].vector" in refusal(body).message


def test_payloads_may_nest_sixteen_levels_and_no_deeper() -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = {"k": value}
        return value

    take(one(payload=nested(16)))
    assert "16 levels" in refusal(one(payload=nested(17))).message


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("nonsense.docs", ErrorCode.UNKNOWN_OPERATION),
        ("", ErrorCode.UNKNOWN_OPERATION),
        ("upsert", ErrorCode.INVALID_COLLECTION),
        ("upsert.", ErrorCode.INVALID_COLLECTION),
        ("upsert.a/b", ErrorCode.INVALID_COLLECTION),
        ("collections.paint.docs", ErrorCode.UNKNOWN_OPERATION),
        ("collections.create", ErrorCode.INVALID_COLLECTION),
    ],
)
def test_a_routing_key_that_leads_nowhere_is_refused(key: str, code: ErrorCode) -> None:
    assert refusal(one(), key).code is code


def test_size_is_checked_before_anything_is_parsed() -> None:
    assert refusal(b"not even json" * 10_000).code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-protobuf"])
def test_other_content_types_are_refused(content_type: str) -> None:
    assert refusal(one(), content_type=content_type).code is ErrorCode.UNSUPPORTED_CONTENT


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=utf-8"])
def test_json_may_be_said_or_left_out(content_type: str | None) -> None:
    assert isinstance(take(one(), content_type=content_type), UpsertPoints)


def test_the_other_operations() -> None:
    assert isinstance(take({"ids": [1]}, "delete.docs"), DeletePoints)
    assert isinstance(take({"ids": [1], "set": {"a": 1}}, "payload.docs"), ChangePayload)
    for key, operation in (
        ("query.docs", Operation.QUERY),
        ("get.docs", Operation.GET),
        ("count.docs", Operation.COUNT),
        ("collections.create.docs", Operation.CREATE),
    ):
        body = {
            Operation.QUERY: {"vector": [1, 2]},
            Operation.GET: {"ids": [1]},
            Operation.COUNT: {},
            Operation.CREATE: {"size": 2},
        }[operation]
        request = take(body, key)
        assert isinstance(request, Request)
        assert (request.operation, request.collection) == (operation, "docs")
    assert take(b"", "collections.list").collection is None
    assert take(b"", "collections.describe.docs").operation is Operation.DESCRIBE


@pytest.mark.parametrize(
    ("key", "body", "code", "says"),
    [
        ("delete.docs", {}, ErrorCode.INVALID, "ids and filter"),
        ("delete.docs", {"filter": {}}, ErrorCode.INVALID, "filter: selects every point"),
        ("delete.docs", {"filter": {"must": []}}, ErrorCode.INVALID, "filter: selects every point"),
        ("delete.docs", {"ids": []}, ErrorCode.INVALID, "ids"),
        ("delete.docs", {"ids": list(range(101))}, ErrorCode.TOO_MANY_POINTS, "takes 100"),
        ("payload.docs", {"ids": [1]}, ErrorCode.INVALID, "set"),
        ("payload.docs", {"ids": [1], "set": {"n": 2**63}}, ErrorCode.INVALID_PAYLOAD, "64 bits"),
        ("query.docs", {"vector": []}, ErrorCode.EMPTY_VECTOR, "vector"),
        ("query.docs", {"vector": ["x"]}, ErrorCode.INVALID_VECTOR, "vector"),
        ("query.docs", {"vector": [1], "limit": 0}, ErrorCode.INVALID, "limit"),
        ("query.docs", {"vector": [1], "filter": {"must": [{"key": "a"}]}}, ErrorCode.INVALID, "filter"),
        ("query.docs", b"{", ErrorCode.MALFORMED, "not JSON"),
        ("query.docs", b'{"vector":[1],"limit":NaN}', ErrorCode.MALFORMED, "not JSON"),
        ("get.docs", {"ids": ["x"]}, ErrorCode.INVALID, "ids"),
        ("collections.create.docs", {}, ErrorCode.INVALID, "size, vectors"),
        ("collections.create.docs", {"size": 2, "distance": "far"}, ErrorCode.INVALID, "distance"),
    ],
)
def test_a_bad_body_of_another_operation_is_refused(key: str, body: Any, code: ErrorCode, says: str) -> None:
    error = refusal(body, key)
    assert error.code is code
    assert says in error.message


json_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
vector = (
    st.lists(floats | st.integers(-9, 9) | st.booleans(), max_size=3)
    | st.lists(floats, min_size=1, max_size=4).map(lambda v: base64.b64encode(np.array(v, "<f4").tobytes()).decode())
    | st.sampled_from(["", "AAA", "AAAA", "x y", NAN])
    | st.dictionaries(st.sampled_from(["a", "b", "indices"]), st.lists(floats, max_size=2), max_size=2)
    | json_value
)


def base64_of(kind: str) -> Any:
    return lambda numbers: base64.b64encode(np.array(numbers, kind).tobytes()).decode()


index = st.integers(0, 2**32 - 1)
indices = st.lists(index, max_size=3, unique=True) | st.lists(index | st.floats(), max_size=2) | json_value
indices |= st.lists(index, max_size=3, unique=True).map(base64_of("<u4")) | st.just("AAA")
values = st.lists(floats, max_size=3) | st.lists(floats, max_size=3).map(base64_of("<f4")) | json_value
sparse = st.fixed_dictionaries({"indices": indices}, optional={"values": values, "x": json_value})
row = st.lists(floats, min_size=2, max_size=2)
rows = st.lists(row, min_size=1, max_size=3) | st.lists(row.map(base64_of("<f4")), min_size=1, max_size=3)
rows |= st.lists(row | st.lists(floats, max_size=3) | json_value, max_size=3)
vector |= sparse | rows | st.dictionaries(st.sampled_from(["a", "b"]), vector | sparse | rows | st.none(), max_size=2)
point = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-1, 2**64) | st.uuids().map(str) | json_value,
        "vector": vector,
        "payload": st.none() | st.dictionaries(st.text(max_size=3) | st.just("_version"), json_value, max_size=3),
        "version": st.none() | st.integers(-1, 2**53) | json_value,
        "other": json_value,
    },
)
body = st.one_of(
    st.fixed_dictionaries({"points": st.lists(point, max_size=3)}),
    json_value,
    st.fixed_dictionaries({"points": json_value}),
)


def cell(vector: Any) -> Any:
    """What the contract's models make of a vector, as the decoder's cells."""
    if isinstance(vector, SparseVector):
        return tuple(array.tobytes() for array in vector.arrays)
    if isinstance(vector, np.ndarray):
        return 4 * vector.shape[1], vector.tobytes()
    return to_array(vector).tobytes()


@given(body)
def test_the_fast_decoder_takes_what_the_contract_takes_and_nothing_else(value: Any) -> None:
    raw = json.dumps(value).encode()
    try:
        contract: Upsert | None = Upsert.model_validate(orjson.loads(raw))
        for each in contract.points:  # the model leaves numbers in base64 to whoever reads them
            for part in each.vector.values() if isinstance(each.vector, dict) else [each.vector]:
                cell(part)
    except (ValidationError, ValueError):
        contract = None
    try:
        decoded = decode_points(raw, 100)
    except MessageError:
        assert contract is None
        return
    assert contract is not None, "decoded what the contract refuses"
    assert decoded.ids == [each.id for each in contract.points]
    assert decoded.payloads == [each.payload for each in contract.points]
    for index, each in enumerate(contract.points):
        named = each.vector if isinstance(each.vector, dict) else {"": each.vector}
        assert {n: c[index] for n, c in decoded.columns.items() if c[index] is not None} == {
            n: cell(v) for n, v in named.items()
        }


@given(st.binary(max_size=200) | body.map(lambda value: json.dumps(value).encode()), st.text(max_size=20))
def test_no_body_and_no_routing_key_crash_the_decoder(raw: bytes, key: str) -> None:
    for routing_key in (key, "upsert.docs", "query.docs", "payload.docs", "collections.create.x"):
        with suppress(MessageError):
            decode(delivery(FakeLink(), 1, raw, routing_key), LIMITS)


def test_an_error_never_repeats_what_was_sent() -> None:
    canary = "canary-5f1c"
    hostile: list[tuple[str, Any]] = [
        ("upsert.docs", one(id=canary)),
        ("upsert.docs", one(vector=canary)),
        ("upsert.docs", one(vector=[canary])),
        ("upsert.docs", one(payload=canary)),
        ("upsert.docs", one(version=canary)),
        ("upsert.docs", one(payload={canary: 2**63})),
        ("query.docs", {"vector": [canary]}),
        ("query.docs", {"vector": [1], "filter": {"must": [{"key": "a", "match": canary}]}}),
        ("get.docs", {"ids": [canary]}),
        ("upsert.docs", f'{{"{canary}'.encode()),
    ]
    for key, value in hostile:
        assert canary not in refusal(value, key).message


CANARY = "canary_8b1f"


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("upsert.docs", {"points": [{"id": 1, "vector": [1], CANARY: 1}]}),
        ("upsert.docs", {CANARY: []}),
        ("delete.docs", {"ids": [1], CANARY: 1}),
        ("payload.docs", {"filter": {"must": [{CANARY: 1}]}, "set": {}}),
        ("query.docs", {"vector": [1], "filter": {CANARY: []}}),
        ("count.docs", {"filter": {"must": [{"key": "a", "range": {CANARY: 1}}]}}),
        ("collections.create.docs", {"vectors": {CANARY: {"size": 0}}}),
        ("collections.create.docs", {"vectors": {"text": {"size": 1, CANARY: 0}}}),
        ("collections.list", {CANARY: 1}),
    ],
)
def test_a_name_of_the_senders_own_is_shown_to_him_alone(key: str, body: Any) -> None:
    with pytest.raises(MessageError) as caught:
        decode(delivery(FakeLink(), 1, body, key=key), Limits(100_000, 100))
    assert CANARY not in caught.value.message
    assert CANARY in caught.value.answer
    assert len(caught.value.message) > 10
