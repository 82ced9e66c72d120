from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from memq import InvalidPoint, InvalidRequest, Point
from memq.deliver.batches import columns, from_columns, from_rows
from memq.encode.points import PointJson, Splitter
from memq_schemas import Upsert
from memq_schemas.vectors import to_array

IDS = st.one_of(st.integers(0, 2**64 - 1), st.uuids().map(str))
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=5,
)
PAYLOADS = st.none() | st.dictionaries(
    st.text(st.characters(codec="utf-8")).filter(lambda k: k != "_version"), JSON, max_size=3
)
VERSIONS = st.none() | st.integers(0, 2**53 - 1)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Any], np.ndarray[Any, Any], list[Any], list[Any]]:
    count, dimensions = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    numbers = st.floats(width=16, allow_nan=False, allow_infinity=False)
    matrix = draw(npst.arrays(dtype, (count, dimensions), elements=numbers))
    ids, payloads, versions = (draw(st.lists(s, min_size=count, max_size=count)) for s in (IDS, PAYLOADS, VERSIONS))
    return ids, matrix, payloads, versions


async def bodies(source: Any, points: int = 5, size: int = 1 << 20) -> list[bytes]:
    splitter = Splitter(points, size)
    batches = source(splitter)
    if isinstance(batches, AsyncIterator):
        return [batch.body() async for batch in batches]
    return [batch.body() for batch in batches]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
async def test_every_form_of_the_same_points_is_the_same_bytes_and_a_valid_body(table: Any) -> None:
    ids, matrix, payloads, versions = table
    source = columns(ids, matrix, payloads, versions)
    expected = await bodies(lambda s: from_columns(source, s))
    lists = columns(ids, matrix.tolist(), payloads, versions)
    fields = [
        dict(zip(("id", "vector", "payload", "version"), row, strict=True))
        for row in zip(ids, matrix, payloads, versions, strict=True)
    ]
    tuples = [tuple(field.values()) for field in fields]

    async def arriving() -> AsyncIterator[Any]:
        for field in fields:
            yield field

    assert await bodies(lambda s: from_columns(lists, s)) == expected
    assert await bodies(lambda s: from_rows(fields, s)) == expected
    assert await bodies(lambda s: from_rows(iter(tuples), s)) == expected
    assert await bodies(lambda s: from_rows(arriving(), s)) == expected

    read = [point for body in expected for point in Upsert.model_validate_json(body).points]
    assert [(p.id, p.payload, p.version) for p in read] == list(zip(ids, payloads, versions, strict=True))
    assert np.array_equal(np.stack([to_array(cast("str", p.vector)) for p in read]), matrix.astype(np.float32))
    assert await bodies(lambda s: from_rows(read, s)) == expected


def test_named_vectors_and_ids_of_other_types_are_valid_too() -> None:
    row = {"id": uuid.UUID(int=7), "vector": {"text": [1, 2], "image": np.array([3.0])}}
    point = orjson.loads(PointJson().row(0, row))
    assert Point.model_validate(point).id == str(uuid.UUID(int=7))
    assert set(point["vector"]) == {"text", "image"}
    assert orjson.loads(PointJson().row(0, (np.uint64(2**64 - 1), np.array([1], np.int32))))["id"] == 2**64 - 1


def test_dates_in_a_payload_are_rfc_3339() -> None:
    day = dt.datetime(2026, 1, 2, 3, 4, 5)
    point = orjson.loads(PointJson().row(0, (1, [1.0], {"at": day, "zoned": day.replace(tzinfo=dt.UTC)})))
    assert point["payload"] == {"at": "2026-01-02T03:04:05+00:00", "zoned": "2026-01-02T03:04:05+00:00"}


GOOD: dict[str, Any] = {"id": 1, "vector": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("row", "field", "told"),
    [
        ({"vector": [1.0, 2.0]}, "id", "memq.point_id"),
        ({**GOOD, "id": "note-7"}, "id", "memq.point_id"),
        ({**GOOD, "id": -1}, "id", "2**64 - 1"),
        ({**GOOD, "id": 2**64}, "id", "2**64 - 1"),
        ({**GOOD, "id": True}, "id", "bool"),
        ({**GOOD, "id": 1.0}, "id", "float"),
        ({"id": 1}, "vector", "missing"),
        ({**GOOD, "vector": []}, "vector", "empty"),
        ({**GOOD, "vector": [1.0]}, "vector", "1 dimensions, the vectors before it have 2"),
        ({**GOOD, "vector": [1.0, float("nan")]}, "vector", "number 1 is NaN"),
        ({**GOOD, "vector": [1e300, 1.0]}, "vector", "number 0 is infinite"),
        ({**GOOD, "vector": np.array([1e300, 1.0])}, "vector", "number 0 is infinite"),
        ({**GOOD, "vector": [1.0, "2"]}, "vector", "number 1 is str"),
        ({**GOOD, "vector": [1.0, None]}, "vector", "number 1 is NoneType"),
        ({**GOOD, "vector": [0.5, True]}, "vector", "number 1 is bool"),
        ({**GOOD, "vector": (False, 0.5)}, "vector", "number 0 is bool"),
        ({**GOOD, "vector": [[1.0], [2.0]]}, "vector", "row 0"),
        ({**GOOD, "vector": "AAAA"}, "vector", "multiple of 4"),
        ({**GOOD, "vector": {}}, "vector", "empty"),
        ({**GOOD, "vector": {"text": []}}, "vector", "text: empty"),
        ({**GOOD, "vector": 3}, "vector", "int"),
        ({**GOOD, "payload": [1]}, "payload", "expected a dict"),
        ({**GOOD, "payload": {"a": object()}}, "payload", "a: object"),
        ({**GOOD, "payload": {1: 2}}, "payload", "a key is int"),
        ({**GOOD, "payload": {"_version": 2}}, "payload", "version"),
        ({**GOOD, "version": -1}, "version", "2**53"),
        ({**GOOD, "version": 2**53}, "version", "2**53"),
        ({**GOOD, "text": "hello"}, None, "'text'"),
        ("abc", None, "str"),
        ((1,), None, "tuple"),
    ],
)
async def test_a_bad_point_is_named_by_index_and_field(row: Any, field: str | None, told: str) -> None:
    with pytest.raises(InvalidPoint) as caught:
        await bodies(lambda s: from_rows([GOOD, GOOD, row], s))
    assert (caught.value.index, caught.value.field) == (2, field)
    assert str(caught.value).startswith(f"points[2]{'.' + field if field else ''}: ")
    assert told in caught.value.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf])
async def test_a_bad_row_of_a_matrix_is_named_like_a_row(bad: float) -> None:
    matrix = np.ones((300, 4), np.float32)
    matrix[200, 2] = bad
    with pytest.raises(InvalidPoint) as by_column:
        await bodies(lambda s: from_columns(columns(range(300), matrix, None, None), s))
    with pytest.raises(InvalidPoint) as by_row:
        await bodies(lambda s: from_rows([(i, v) for i, v in enumerate(matrix)], s))
    assert str(by_column.value) == str(by_row.value)
    assert by_column.value.index == 200


def test_large_finite_numbers_pass() -> None:
    assert PointJson().row(0, (1, np.array([3e38, 3e38], np.float32)))


@pytest.mark.parametrize(
    ("ids", "vectors", "told"),
    [
        ([1], np.ones((2, 3)), "1 ids, 2 vectors"),
        ([1, 2], np.ones(2), "shape"),
        ([1], np.array([["a"]]), "numbers"),
        (None, np.ones((2, 3)), "ids and vectors"),
        ([1], None, "ids and vectors"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_anything_is_sent(ids: Any, vectors: Any, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        columns(ids, vectors, None, None)


async def test_a_single_point_instead_of_several_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="into a list"):
        await bodies(lambda s: from_rows(GOOD, s))
