from __future__ import annotations

import datetime as dt
import decimal
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import pytest

from memq import point_id
from memq.encode.arrow import WirePoints, split
from memq.encode.points import PointJson
from memq_cli.sources import BadFile, ColumnNames, open_source
from memq_cli.sources.jsonl import JsonLines
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.points import decode_points

if TYPE_CHECKING:
    from memq_worker.pipeline.store import PointsBatch

pa = pytest.importorskip("pyarrow")


def read(
    path: Path, names: ColumnNames | None = None, payloads: Path | None = None, start: int = 0
) -> list[dict[str, Any]]:
    """What a worker makes of the file."""
    points: Any = open_source(str(path), names or ColumnNames(), payloads).points(start)
    if isinstance(points, WirePoints):
        batches = [decode_arrow(message.body(), 100) for message in split(points.batches, 100, 1 << 20)]
    else:
        encode = PointJson()
        rows = [encode.row(index, row) for index, row in enumerate(points)]
        batches = [decode_points(b'{"points":[' + b",".join(rows) + b"]}", 10_000)] if rows else []
    return [point for batch in batches for point in decoded(batch)]


def decoded(batch: PointsBatch) -> list[dict[str, Any]]:
    vectors = [np.frombuffer(cast("bytes", vector), "<f4").tolist() for vector in batch.columns[""]]
    versions = batch.versions or [None] * len(batch)
    names = ("id", "vector", "payload", "version")
    return [
        dict(zip(names, point, strict=True)) for point in zip(batch.ids, vectors, batch.payloads, versions, strict=True)
    ]


def jsonl(path: Path, *lines: object) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines))
    return path


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


def test_columns_that_mean_nothing_else_become_payload(tmp_path: Path) -> None:
    line = {"id": 1, "vector": [1.0], "version": 3, "payload": {"a": 1}, "text": "t", "none": None}
    file = jsonl(tmp_path / "a.jsonl", line)
    (point,) = read(file)
    assert (point["id"], point["version"]) == (1, 3)
    assert point["payload"] == {"a": 1, "text": "t", "none": None}
    (point,) = read(file, ColumnNames(payload=("text", "absent")))
    assert point["payload"] == {"text": "t"}
    (point,) = read(file, ColumnNames(key=("text",)))
    assert point["id"] == point_id("t")
    assert [p["id"] for p in read(jsonl(tmp_path / "b.jsonl", line, line), ColumnNames(start=5))] == [5, 6]


def test_a_table_with_types_that_json_has_not(tmp_path: Path) -> None:
    day = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    file = parquet(
        tmp_path / "a.parquet",
        {
            "id": pa.array([1, 2], pa.uint64()),
            "vector": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float16(), 2)),
            "at": pa.array([day, None], pa.timestamp("ns", "UTC")),
            "day": pa.array([day.date(), None], pa.date32()),
            "price": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
            "tags": pa.array([["a"], []], pa.list_(pa.string())),
            "payload": ['{"deep": {"a": 1}}', None],
        },
    )
    first, second = read(file)
    assert first["payload"] == {
        "deep": {"a": 1},
        "at": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "price": 1.25,
        "tags": ["a"],
    }
    assert second["payload"] == {"tags": []}


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32())),
        pa.array([[1.0, 2.0], [3.0, 4.0]], pa.large_list(pa.float64())),
        pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
    ],
)
def test_lists_of_any_kind_are_vectors(tmp_path: Path, vectors: Any) -> None:
    points = read(parquet(tmp_path / "a.parquet", {"id": [1, 2], "vector": vectors}))
    assert [point["vector"] for point in points] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        ([[1.0, 2.0], [3.0]], "points[1].vector: 1 dimensions"),
        ([[1.0, 2.0], None], "points[1].vector: missing"),
        ([[1.0, 2.0], [3.0, None]], "points[1].vector: number 1 is missing"),
    ],
)
def test_a_bad_vector_in_a_table_is_the_points_fault_not_the_tables(tmp_path: Path, vectors: Any, told: str) -> None:
    file = parquet(tmp_path / "a.parquet", {"id": [1, 2], "vector": vectors})
    with pytest.raises(ValueError, match=r"dimensions|missing") as caught:
        read(file)
    assert told in str(caught.value)


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    good = {"id": 1, "vector": [1.0]}
    cases: list[tuple[Path, ColumnNames, str]] = [
        (tmp_path / "none.jsonl", ColumnNames(), "no such file"),
        (tmp_path, ColumnNames(), "is a directory"),
        (Path("/dev/null"), ColumnNames(), "a pipe or device; give -"),
        (tmp_path / ("x" * 300), ColumnNames(), "File name too long"),
        (jsonl(tmp_path / "a.txt", good), ColumnNames(), "unknown file type"),
        (jsonl(tmp_path / "a.jsonl", good, b"", b"[1]"), ColumnNames(), "line 3: expected a JSON object"),
        (jsonl(tmp_path / "b.jsonl", good, b"{"), ColumnNames(), "line 2: not JSON"),
        (jsonl(tmp_path / "c.jsonl", {"vector": [1]}), ColumnNames(), "line 1: id: missing; name another"),
        (jsonl(tmp_path / "d.jsonl", {"id": 1}), ColumnNames(), "line 1: vector: missing; name another"),
        (jsonl(tmp_path / "e.jsonl", {**good, "payload": 3}), ColumnNames(), "line 1: payload: expected an object"),
        (jsonl(tmp_path / "f.jsonl", good), ColumnNames(key=("user",)), "line 1: user: missing, and --id-key"),
        (jsonl(tmp_path / "a.parquet", good), ColumnNames(), "not a Parquet file"),
        (jsonl(tmp_path / "a.arrow", good), ColumnNames(), "neither an Arrow IPC file nor a stream"),
        (jsonl(tmp_path / "a.npy", good), ColumnNames(), "not a .npy file"),
        (
            parquet(tmp_path / "b.parquet", {"key": [1], "vector": [[1.0]]}),
            ColumnNames(),
            "no column 'id'; there are key",
        ),
        (
            parquet(tmp_path / "c.parquet", {"id": [1], "vector": [[1.0]], "raw": [b"x"]}),
            ColumnNames(),
            "column 'raw' is binary",
        ),
    ]
    for path, names, told in cases:
        with pytest.raises(BadFile) as caught:
            read(path, names)
        assert str(caught.value).startswith(str(path))
        assert told in str(caught.value)


def test_a_matrix_and_its_payloads_have_to_be_equally_long(tmp_path: Path) -> None:
    matrix = tmp_path / "a.npy"
    np.save(matrix, np.ones((2, 3)))
    assert [point["id"] for point in read(matrix)] == [0, 1]
    names = ColumnNames()
    equal = jsonl(tmp_path / "equal.jsonl", {"id": 7, "a": 1}, {"id": 8, "a": 2})
    assert [(p["id"], p["payload"]) for p in read(matrix, names, equal)] == [(7, {"a": 1}), (8, {"a": 2})]
    with pytest.raises(BadFile, match="the payloads end here"):
        read(matrix, names, jsonl(tmp_path / "short.jsonl", {"id": 7}))
    with pytest.raises(BadFile, match="more payloads than the 2 rows"):
        read(matrix, names, jsonl(tmp_path / "long.jsonl", {"id": 7}, {"id": 8}, {"id": 9}))
    with pytest.raises(BadFile, match="belongs to"):
        read(equal, names, equal)


def test_the_total_of_a_text_file_is_guessed_and_ends_right() -> None:
    text = b'{"id": 1, "vector": [1.0]}\n' * 50
    source = JsonLines("x", lambda: io.BytesIO(text), len(text), ColumnNames())
    assert source.total is None
    rows = source.points()
    for _ in range(10):
        next(rows)
    assert source.total in range(40, 61)
    assert len(list(rows)) == 40
    assert source.total == 50


def write_groups(path: Path) -> Path:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, TABLE.schema) as writer:
        for start, rows in ((0, 3), (3, 1200), (1203, 797)):
            writer.write_table(TABLE.slice(start, rows))
    return path


def write_ipc(path: Path) -> Path:
    opened = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
    with opened(path, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=1100)
    return path


def write_lines(path: Path) -> Path:
    return jsonl(path, *(line for row in TABLE.to_pylist() for line in (row, b" ")))


def write_matrix(path: Path) -> Path:
    np.save(path, np.arange(2000, dtype=np.float16).reshape(-1, 1))
    return path


TABLE = pa.table({"id": range(2000), "vector": pa.array([[float(n)] for n in range(2000)]), "n": range(2000)})


@pytest.mark.parametrize(
    ("write", "ending"),
    [
        (write_groups, "parquet"),
        (write_ipc, "arrow"),
        (write_ipc, "arrows"),
        (write_lines, "jsonl"),
        (write_matrix, "npy"),
    ],
)
@pytest.mark.parametrize("start", [0, 3, 999, 1203, 1999, 2000])
def test_a_file_can_be_read_from_any_row_on(tmp_path: Path, write: Any, ending: str, start: int) -> None:
    points = read(write(tmp_path / f"a.{ending}"), start=start)
    assert [point["id"] for point in points] == list(range(start, 2000))
    assert [point["vector"] for point in points] == [[float(n)] for n in range(start, 2000)]
    assert [point["id"] for point in read(tmp_path / f"a.{ending}", ColumnNames(start=7), start=start)] == [
        *range(start + 7, 2007)
    ]


def test_a_matrix_may_have_ids_of_both_kinds(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    ids = [1, point_id("a"), point_id("b"), 2]
    assert [
        p["id"] for p in read(tmp_path / "a.npy", payloads=jsonl(tmp_path / "a.jsonl", *({"id": i} for i in ids)))
    ] == ids


def test_a_table_that_ends_early_is_told_with_its_place(tmp_path: Path) -> None:
    whole = write_ipc(tmp_path / "a.arrows").read_bytes()
    (tmp_path / "b.arrows").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(BadFile, match=r"b\.arrows, row 1100 \(from 0\): unreadable from here on"):
        read(tmp_path / "b.arrows")
