"""Messages of sparse vectors alone are read and written side by side, with the results of one after another."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from qdrant_client import grpc

from memq_schemas.vectors import MAX_DIMENSIONS
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.pipeline.decode.sparse import repeating_row
from memq_worker.pipeline.store import PointsBatch, SparseCell
from memq_worker.qdrant.upserts import upsert_request, vectors_request

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
index = st.sampled_from([0, 1, 127, 128, 2**14 - 1, 2**14, 2**21, 2**28, 2**32 - 1]) | st.integers(0, 40)
numbers = floats | st.sampled_from([float("nan"), float("inf")])
indices = st.lists(index, max_size=6)
values = st.lists(numbers, max_size=6)
equal = st.integers(0, 6).flatmap(
    lambda size: st.tuples(
        st.lists(index, min_size=size, max_size=size, unique=True), st.lists(floats, min_size=size, max_size=size)
    )
)
pair = equal | st.tuples(indices, values)


def text(kind: str, given: Any) -> str:
    return base64.b64encode(np.array(given, kind).tobytes()).decode()


def outcome(read: Any, body: bytes) -> Any:
    """The points that are read, or the refusal."""
    try:
        points: PointsBatch = read(body, 100)
    except MessageError as error:
        return error.code, str(error), error.answer
    columns = {
        name: [None if cell is None else (bytes(cell[0]), bytes(cell[1])) for cell in column]  # type: ignore[index]
        for name, column in points.columns.items()
    }
    return points.ids, columns


fields = st.sampled_from([("indices",), ("values",), ("indices", "values")])
others = st.sampled_from(["", "A", "AA==", "====", "é", "AAAA", None, 1, []])
damage = st.none() | st.tuples(st.integers(0, 4), fields, others)


@given(st.lists(pair, min_size=1, max_size=5), damage, st.booleans())
@example([([], [])], None, False)
@example([([1], [1.0])], (0, ("indices", "values"), "AA=="), False)
@example([([1], [1.0]), ([], []), ([], []), ([1], [1.0])], None, False)
@example([([], []), ([2, 1], [1.0, 1.0])], None, False)
@example([(list(range(MAX_DIMENSIONS + 1)), [0.0] * (MAX_DIMENSIONS + 1))], None, False)
def test_base64_is_read_side_by_side_as_one_after_another(
    points: list[tuple[list[int], list[float]]], damaged: Any, long_name: bool
) -> None:
    name = "w" * 300 if long_name else "w"
    vectors: list[dict[str, Any]] = [{"indices": text("<u4", own), "values": text("<f4", all_)} for own, all_ in points]
    if damaged is not None:
        at, names, instead = damaged
        vectors[at % len(vectors)].update(dict.fromkeys(names, instead))
    alone = [{"id": number, "vector": {name: vector}} for number, vector in enumerate(vectors)]
    # A name without a vector changes nothing, but such points are read one after another.
    apart = [{**point, "vector": {**point["vector"], "other": None}} for point in alone]
    bodies = [json.dumps({"points": each}).encode() for each in (alone, apart)]
    assert outcome(decode_points, bodies[0]) == outcome(decode_points, bodies[1])


def stream(rows: list[Any], kinds: tuple[Any, Any]) -> bytes:
    kind = pa.struct([("indices", pa.list_(kinds[0])), ("values", pa.list_(kinds[1]))])
    table: Any = pa.table({"id": pa.array(range(len(rows)), pa.uint64()), "vector.w": pa.array(rows, kind)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@given(st.lists(pair, min_size=1, max_size=5), st.sampled_from([pa.uint32(), pa.int64()]))
@example([(list(range(MAX_DIMENSIONS + 1)), [0.0] * (MAX_DIMENSIONS + 1))], pa.uint32())
def test_arrow_is_read_at_once_as_row_by_row(points: list[tuple[list[int], list[float]]], kind: Any) -> None:
    rows = [{"indices": own, "values": all_} for own, all_ in points]
    at_once = outcome(decode_arrow, stream(rows, (kind, pa.float32())))
    # A row without a vector has the others read row by row.
    row_by_row = outcome(decode_arrow, stream([*rows, None], (kind, pa.float32())))
    if len(row_by_row) == 2:
        assert row_by_row[1]["w"][-1] is None
        row_by_row = (row_by_row[0][:-1], {name: column[:-1] for name, column in row_by_row[1].items()})
    assert at_once == row_by_row


@given(st.lists(st.lists(index, max_size=5), min_size=1, max_size=6))
def test_the_first_vector_that_repeats_an_index_is_found(rows: list[list[int]]) -> None:
    cells = [SparseCell(np.array(row, "<u4").tobytes(), b"") for row in rows]
    repeating = [number for number, row in enumerate(rows) if len(set(row)) < len(row)]
    assert repeating_row(cells) == (repeating[0] if repeating else None)


@given(st.lists(equal, min_size=1, max_size=5), st.sampled_from(["w", "é" * 100]))
def test_messages_of_sparse_vectors_alone_are_those_of_qdrants_classes(
    points: list[tuple[list[int], list[float]]], name: str
) -> None:
    cells: list[Any] = [SparseCell(np.array(i, "<u4").tobytes(), np.array(v, "<f4").tobytes()) for i, v in points]
    batch = PointsBatch(list(range(len(cells))), {name: cells}, [None] * len(cells))
    upsert: Any = grpc.UpsertPoints.FromString(upsert_request("docs", batch))
    change: Any = grpc.UpdatePointVectors.FromString(vectors_request("docs", batch))
    for request in (upsert, change):
        for got, (own, all_) in zip(request.points, points, strict=True):
            vector = grpc.Vector(sparse=grpc.SparseVector(indices=own, values=all_))
            assert got.vectors == grpc.Vectors(vectors=grpc.NamedVectors(vectors={name: vector}))
