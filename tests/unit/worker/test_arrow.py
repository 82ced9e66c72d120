from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_NAMED_VECTORS, MAX_RECORD_BATCHES
from memq_schemas.points import MAX_VERSION
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode import arrow_stream, checks
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.points import decode_points

SIZE = 3


def stream(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def vectors(rows: int, kind: Any = None) -> Any:
    values = pa.array(np.arange(rows * SIZE, dtype=kind or "<f4"))
    return pa.FixedSizeListArray.from_arrays(values, SIZE)


def table(rows: int = 2, **columns: Any) -> Any:
    given = {"id": pa.array(range(rows), pa.uint64()), "vector": vectors(rows), **columns}
    return pa.table({name: column for name, column in given.items() if column is not None})


def refusal(body: bytes, most: int = 100) -> MessageError:
    with pytest.raises(MessageError) as caught:
        decode_arrow(body, most)
    return caught.value


point = st.fixed_dictionaries(
    {
        "id": st.integers(0, 2**64 - 1),
        "vector": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    },
    optional={
        "payload": st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)),
        "version": st.integers(0, MAX_VERSION),
    },
)


@given(points=st.lists(point, min_size=1, max_size=8), cut=st.integers(1, 8))
def test_it_says_what_the_same_points_say_in_json(points: list[dict[str, Any]], cut: int) -> None:
    flat = np.array([p["vector"] for p in points], dtype="<f4").reshape(-1)
    given = pa.table(
        {
            "id": pa.array([p["id"] for p in points], pa.uint64()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), 2),
            "payload": pa.array([json.dumps(p["payload"]) if "payload" in p else None for p in points], pa.string()),
            "version": pa.array([p.get("version") for p in points], pa.int64()),
        }
    )
    batches = pa.Table.from_batches(given.to_batches(max_chunksize=cut))
    assert decode_arrow(stream(batches), 100) == decode_points(json.dumps({"points": points}).encode(), 100)


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "uuid"])
def test_uuids_come_as_text_or_as_their_16_bytes(kind: str) -> None:
    ids = [uuid.uuid4(), uuid.uuid4()]
    text = [str(i) for i in ids]
    columns = {
        "string": lambda: pa.array([t.upper() for t in text]),
        "large_string": lambda: pa.array(text, pa.large_string()),
        "binary": lambda: pa.array([i.bytes for i in ids], pa.binary(16)),
        "uuid": lambda: pa.array([i.bytes for i in ids], pa.uuid()),
    }
    assert decode_arrow(stream(table(id=columns[kind]())), 100).ids == text


def test_float16_is_widened() -> None:
    points = decode_arrow(stream(table(vector=vectors(2, "<f2"))), 100)
    assert points.columns[""] == [np.arange(SIZE, dtype="<f4").tobytes(), np.arange(SIZE, 6, dtype="<f4").tobytes()]


def test_named_vectors_have_a_column_each_and_a_point_may_lack_one() -> None:
    some = pa.array([[1, 2], None], pa.list_(pa.float32(), 2))
    points = decode_arrow(stream(table(vector=None, **{"vector.a": vectors(2), "vector.b": some})), 100)
    assert set(points.columns) == {"a", "b"}
    assert points.columns["b"] == [np.array([1, 2], "<f4").tobytes(), None]


def test_a_payload_may_be_a_struct() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    payload = pa.array([{"n": 1, "at": when, "x": float("nan")}, None])
    points = decode_arrow(stream(table(payload=payload)), 100)
    assert points.payloads == [{"n": 1, "at": "2026-01-02T00:00:00+00:00", "x": None}, None]


def test_a_slice_of_a_table_carries_only_its_rows() -> None:
    points = decode_arrow(stream(table(10).slice(4, 2)), 100)
    assert points.ids == [4, 5]
    assert points.columns[""] == [np.arange(r * SIZE, (r + 1) * SIZE, dtype="<f4").tobytes() for r in (4, 5)]


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (lambda: table(0), ErrorCode.EMPTY_BATCH, "at least one"),
        (lambda: table(101), ErrorCode.TOO_MANY_POINTS, "takes 100"),
        (lambda: table(id=None), ErrorCode.INVALID, "expected id and vector"),
        (lambda: table(vector=None), ErrorCode.INVALID, "expected id and vector"),
        (lambda: table(**{"vector.a": vectors(2)}), ErrorCode.INVALID, "expected id and vector"),
        (lambda: table(colour=pa.array([1, 2])), ErrorCode.INVALID, "colour"),
        (lambda: table(id=pa.array([1, None], pa.uint64())), ErrorCode.INVALID, "points[1].id: missing"),
        (lambda: table(id=pa.array([1, -1])), ErrorCode.INVALID, "points[1].id"),
        (lambda: table(id=pa.array(["a", "b"])), ErrorCode.INVALID, "points[0].id"),
        (lambda: table(id=pa.array([1.0, 2.0])), ErrorCode.INVALID, "id: expected"),
        (lambda: table(vector=pa.array([[1.0], [2.0]])), ErrorCode.INVALID, "fixed_size_list"),
        (lambda: table(vector=pa.array([[1], [2]], pa.list_(pa.int32(), 1))), ErrorCode.INVALID, "fixed_size_list"),
        (lambda: table(vector=pa.array([[1], None], pa.list_(pa.float32(), 1))), ErrorCode.EMPTY_VECTOR, "vector"),
        (lambda: table(vector=pa.array([[1], [None]], pa.list_(pa.float32(), 1))), ErrorCode.INVALID_VECTOR, "null"),
        (
            lambda: table(vector=pa.array([[1], [float("nan")]], pa.list_(pa.float32(), 1))),
            ErrorCode.INVALID_VECTOR,
            "row 1",
        ),
        (lambda: table(payload=pa.array(["{}", "[1]"])), ErrorCode.INVALID_PAYLOAD, "points[1].payload"),
        (lambda: table(payload=pa.array(["{}", '{"a":1e999}'])), ErrorCode.INVALID_PAYLOAD, "points[1].payload"),
        (lambda: table(payload=pa.array([1, 2])), ErrorCode.INVALID, "payload: expected"),
        (lambda: table(payload=pa.array(['{"_version":1}', None])), ErrorCode.INVALID_PAYLOAD, "_version"),
        (lambda: table(version=pa.array([1, -1])), ErrorCode.INVALID, "points[1].version"),
        (lambda: table(version=pa.array([1.0, 2.0])), ErrorCode.INVALID, "version: expected"),
    ],
)
def test_what_is_wrong_is_named_with_its_column(given: Any, code: ErrorCode, says: str) -> None:
    error = refusal(stream(given()))
    assert error.code is code
    assert says in error.message


def test_buffers_compressed_inside_are_refused_before_they_are_expanded() -> None:
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(50 * 10_000, dtype="<f4")), 10_000)
    error = refusal(stream(table(50, vector=zeros), compression="zstd"))
    assert error.code is ErrorCode.MALFORMED
    assert "content_encoding" in error.message


def test_dictionaries_are_refused() -> None:
    error = refusal(stream(table(payload=pa.array(["{}", "{}"]).dictionary_encode())))
    assert error.code is ErrorCode.MALFORMED
    assert "dictionary" in error.message


@pytest.mark.parametrize("body", [b"", b"{}", b"ARROW1", b"\xff" * 40])
def test_what_is_no_stream_is_malformed(body: bytes) -> None:
    assert refusal(body).code is ErrorCode.MALFORMED


@settings(max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6), cut=st.integers(0, 400))
def test_a_damaged_stream_is_refused_or_read_and_never_anything_else(changes: list[tuple[int, int]], cut: int) -> None:
    body = bytearray(stream(table(3, payload=pa.array(['{"a":1}', None, "{}"]))))
    for at, value in changes:
        body[at % len(body)] = value
    try:
        points = decode_arrow(bytes(body[: len(body) - cut]), 100)
    except MessageError:
        return
    assert len(points.payloads) == len(points) == len(points.columns[""])


class TestTheWholeBody:
    def test_a_stream_ends_with_its_mark_and_the_body_with_the_stream(self) -> None:
        body = stream(table())
        assert len(decode_arrow(body, 100)) == 2
        for cut in range(1, len(body)):
            assert refusal(body[:-cut]).code is ErrorCode.MALFORMED
        for more in (b"\0", body, body[:-8], b"\xff\xff\xff\xff\0\0\0\0"):
            error = refusal(body + more)
            assert error.code is ErrorCode.MALFORMED
            assert f"{len(more)} bytes after the end" in error.message

    def test_a_stream_without_its_last_batch_is_no_shorter_stream(self) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table().schema) as writer:
            writer.write_table(table())
            first = sink.tell()
            writer.write_table(table())
        assert "truncated" in refusal(sink.getvalue().to_pybytes()[:first]).message

    def test_record_batches_are_limited_also_those_without_rows(self) -> None:
        def batches(count: int) -> bytes:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table().schema) as writer:
                for _ in range(count):
                    writer.write_batch(table().to_batches()[0].slice(0, 0))
                writer.write_table(table())
            return sink.getvalue().to_pybytes()

        assert len(decode_arrow(batches(MAX_RECORD_BATCHES - 1), 100)) == 2
        assert refusal(batches(MAX_RECORD_BATCHES)).code is ErrorCode.TOO_LARGE

    @pytest.mark.parametrize(
        "column",
        [
            pa.StructArray.from_arrays([pa.nulls(2)] * 1300, [f"f{n}" for n in range(1300)]),
            pa.StructArray.from_arrays([pa.FixedSizeListArray.from_arrays(pa.nulls(2 * 1300), 1300)], ["a"]),
            pa.array([{"a": [1] * 1300}] * 2),
            pa.array(
                [{"a": [(f"k{n}", 1) for n in range(650)]}] * 2, pa.struct({"a": pa.map_(pa.string(), pa.int64())})
            ),
            pa.array(['{"a":[' + ",".join("1" * 2600) + "]}", None]),
        ],
    )
    def test_payload_values_are_limited_in_all_batches_together(
        self, column: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (arrow_stream, checks):
            monkeypatch.setattr(module, "max_values", lambda size: 4000)
        for module in (arrow_stream, checks):
            monkeypatch.setattr(module, "SMALL", 100)
        whole = table(payload=column)
        assert len(decode_arrow(stream(whole), 100)) == 2
        error = refusal(stream(pa.concat_tables([whole, whole])))
        assert error.code is ErrorCode.TOO_LARGE
        assert "payload: more than" in error.message

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([{"a": "x"}] * 2, pa.struct({"a": pa.string_view()})),
            pa.array([{"a": [1]}] * 2, pa.struct({"a": pa.list_view(pa.int64())})),
        ],
    )
    def test_types_that_repeat_memory_are_refused(self, column: Any) -> None:
        error = refusal(stream(table(payload=column)))
        assert error.code is ErrorCode.MALFORMED
        assert "payload" in error.message

    def test_runs_are_read_as_far_as_what_they_expand_to_is_bounded(self) -> None:
        short = pa.StructArray.from_arrays([pa.RunEndEncodedArray.from_arrays([2], ["x"])], ["a"])
        assert len(decode_arrow(stream(table(payload=short)), 100)) == 2
        long = pa.StructArray.from_arrays([pa.RunEndEncodedArray.from_arrays([2], ["x" * (40 * 2**20)])], ["a"])
        error = refusal(stream(table(payload=long)))
        assert error.code is ErrorCode.TOO_LARGE
        assert "payload" in error.message

    def test_a_schema_has_a_limit(self) -> None:
        wide = pa.StructArray.from_arrays([pa.array([1, 2])] * 6000, [f"f{n}" for n in range(6000)])
        assert refusal(stream(table(payload=wide))).code is ErrorCode.TOO_LARGE
        many = {f"vector.{n}": vectors(2) for n in range(MAX_NAMED_VECTORS + 1)}
        error = refusal(stream(table(vector=None, version=pa.array([1, 2]), payload=pa.nulls(2), **many)))
        assert "columns" in error.message
