"""Sparse vectors and multivectors as people have them, to what a worker reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models

from memq import InvalidPoint, InvalidRequest
from memq.deliver.batches import columns, from_columns, from_rows
from memq.encode.arrow import PointTable, split
from memq.encode.points import Splitter
from memq.encode.requests import wire_vector
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.points import decode_points

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
INDICES = st.lists(st.integers(0, 2**32 - 1), max_size=5, unique=True)
LIST, ROWS = pa.list_(pa.float32(), 2), pa.list_(pa.list_(pa.float64()))
SPARSE = pa.struct([("indices", pa.large_list(pa.int64())), ("values", pa.list_(pa.float64()))])


@st.composite
def sparse(draw: st.DrawFn) -> Any:
    indices = draw(INDICES)
    return indices, draw(st.lists(FLOATS, min_size=len(indices), max_size=len(indices)))


ROW = st.lists(FLOATS, min_size=2, max_size=2)
MULTI = st.lists(ROW, min_size=1, max_size=3)
POINTS = st.lists(st.tuples(ROW, st.none() | MULTI, st.none() | sparse()), min_size=1, max_size=5)


def cells(point: Any) -> dict[str, Any]:
    dense, multi, text = point
    found: dict[str, Any] = {"d": np.array(dense, "<f4").tobytes()}
    if multi is not None:
        found["m"] = (8, np.array(multi, "<f4").tobytes())
    if text is not None:
        found["s"] = (np.array(text[0], "<u4").tobytes(), np.array(text[1], "<f4").tobytes())
    return found


def read(batch: Any) -> list[dict[str, Any]]:
    """The cells of each point, as bytes."""
    rows: list[dict[str, Any]] = [{} for _ in batch.ids]
    for name, column in batch.columns.items():
        for row, cell in zip(rows, column, strict=True):
            if cell is not None:
                parts = (
                    [part if isinstance(part, int) else bytes(part) for part in cell] if isinstance(cell, tuple) else []
                )
                row[name] = tuple(parts) or bytes(cell)
    return rows


def _arrays(rows: Any) -> Any:
    return [np.array(row) for row in rows]


def _object(**fields: Any) -> Any:
    return SimpleNamespace(**fields)


def _plain(part: Any) -> Any:
    return part if isinstance(part, int) else bytes(part)


FORMS: dict[str, Any] = {
    "lists": (list, lambda ids, values: {"indices": ids, "values": values}),
    "arrays": (np.array, lambda ids, values: {"indices": np.array(ids, "i8"), "values": np.array(values)}),
    "fastembed": (
        lambda rows: [*map(np.array, rows)],
        lambda ids, values: _object(indices=ids, values=np.array(values)),
    ),
    "qdrant_client": (list, lambda ids, values: models.SparseVector(indices=ids, values=values)),
    "scipy": (tuple, lambda ids, values: _object(indptr=[0, len(ids)], indices=np.array(ids, "u4"), data=values)),
}


def named(point: Any, form: str) -> dict[str, Any]:
    dense, multi, text = point
    as_rows, as_sparse = FORMS[form]
    found = {"d": dense, "m": multi and as_rows(multi), "s": text and as_sparse(*text)}
    return {name: vector for name, vector in found.items() if vector is not None}


@given(POINTS, st.sampled_from(sorted(FORMS)))
def test_rows_travel_as_they_are(points: Any, form: str) -> None:
    rows = [(number, named(point, form)) for number, point in enumerate(points)]
    (batch,) = from_rows(rows, Splitter(100, 10**6))  # pyright: ignore[reportGeneralTypeIssues]
    assert read(decode_points(batch.body(), 100)) == [cells(point) for point in points]


@given(POINTS)
def test_columns_by_name_travel_as_they_are(points: Any) -> None:
    whole = [named(point, "lists") for point in points]
    by_name = {name: [each.get(name) for each in whole] for name in ("d", "m", "s")}
    (batch,) = from_columns(columns(range(len(points)), by_name, None, None), Splitter(100, 10**6))
    assert read(decode_points(batch.body(), 100)) == [cells(point) for point in points]


@settings(deadline=None)
@given(POINTS, st.booleans())
def test_tables_travel_as_they_are(points: Any, as_struct: bool) -> None:
    whole = [named(point, "lists") for point in points]
    kinds = {"d": LIST, "m": ROWS, "s": SPARSE}
    if as_struct:
        vectors = {"vector": pa.array([dict.fromkeys(kinds) | each for each in whole], pa.struct(list(kinds.items())))}
    else:
        vectors = {f"vector.{name}": pa.array([each.get(name) for each in whole], kind) for name, kind in kinds.items()}
    table = pa.table({"id": pa.array(range(len(points)), pa.uint64()), **vectors})
    (message,) = split(PointTable.of(table).wire(), 100, 10**6)
    assert read(decode_arrow(message.body(), 100)) == [cells(point) for point in points]


def test_a_three_dimensional_array_has_a_multivector_for_each_point() -> None:
    matrix = np.arange(12, dtype="f4").reshape(2, 3, 2)
    (batch,) = from_columns(columns([1, 2], matrix, None, None), Splitter(100, 10**6))
    decoded = decode_points(batch.body(), 100)
    assert decoded.columns == {"": [(8, matrix[0].tobytes()), (8, matrix[1].tobytes())]}


BAD: dict[str, Any] = {
    "an index twice": {"s": {"indices": [1, 1], "values": [1, 1]}},
    "another number of values": {"s": {"indices": [1], "values": [1, 2]}},
    "a negative index": {"s": {"indices": [-1], "values": [1]}},
    "an index that is no integer": {"s": {"indices": [1.5], "values": [1]}},
    "an index above 32 bits": {"s": {"indices": [2**32], "values": [1]}},
    "a value that is not finite": {"s": {"indices": [1], "values": [float("nan")]}},
    "other fields": {"s": {"indices": [1]}},
    "ragged rows": {"m": [[1, 2], [3]]},
    "an empty row": {"m": [[1], []]},
    "too many numbers": {"m": np.zeros((1024, 1024), "f4")},
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_vector_is_named(kind: str) -> None:
    with pytest.raises(InvalidPoint) as caught:
        list(from_rows([(1, {"d": [1.0]}), (2, BAD[kind])], Splitter(100, 10**6)))  # pyright: ignore
    assert (caught.value.index, caught.value.field) == (1, "vector")


TABLES: dict[str, Any] = {
    "an index twice": pa.array([{"indices": [1, 1], "values": [1, 1]}], SPARSE),
    "another number of values": pa.array([{"indices": [1], "values": []}], SPARSE),
    "a negative index": pa.array([{"indices": [-1], "values": [1]}], SPARSE),
    "an index above 32 bits": pa.array([{"indices": [2**32], "values": [1]}], SPARSE),
    "no indices": pa.array([{"indices": None, "values": [1]}], SPARSE),
    "a missing index": pa.array([{"indices": [None], "values": [1]}], SPARSE),
    "a value that is not finite": pa.array([{"indices": [1], "values": [float("inf")]}], SPARSE),
    "ragged rows": pa.array([[[1, 2], [3]]], ROWS),
    "no rows": pa.array([[]], ROWS),
    "a missing row": pa.array([[None]], ROWS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_bad_vector_of_a_table_is_named(kind: str) -> None:
    column = TABLES[kind]
    good = pa.nulls(1, column.type)
    table = pa.table({"id": pa.array([1, 2], pa.uint64()), "vector.x": pa.chunked_array([good, column])})
    with pytest.raises(InvalidPoint) as caught:
        list(split(PointTable.of(table).wire(), 100, 10**6))
    assert (caught.value.index, caught.value.field) == (1, "vector.x")


def test_a_vector_to_search_near_is_of_any_kind_and_alone() -> None:
    assert orjson.dumps(wire_vector({"indices": [], "values": []})) == b'{"indices":"","values":""}'
    assert orjson.dumps(wire_vector(np.eye(2))) == b'["AACAPwAAAAA=","AAAAAAAAgD8="]'
    with pytest.raises(InvalidRequest, match="vector"):
        wire_vector({"text": [1.0]})
