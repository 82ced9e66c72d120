"""Files of every kind give the points that they hold, exactly, or are refused with their place."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq import InvalidPoint, point_id
from memq.encode.arrow import WirePoints, split
from memq.encode.points import PointJson
from memq_cli.sources import BadFile, ColumnNames, open_source
from memq_cli.sources.json_documents import JsonDocuments
from memq_cli.sources.read_ahead import ROWS, checked, encoded
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.points import decode_points

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS_OF_TEXT: list[dict[str, Any]] = [
    {"id": 1, "vector": [1.0, 0.5], "text": 'Zürich, "a"\nb', "n": 2**53 + 1},
    {"id": 2, "vector": [0.0, -1.0], "text": "b", "n": -1},
]


def read(
    path: Path, names: ColumnNames | None = None, start: int = 0, **options: Any
) -> list[tuple[Any, Any, Any, Any]]:
    """What a worker has of the file: id, vectors by name, payload, version."""
    points: Any = open_source(str(path), names or ColumnNames(), **options).points(start)
    if isinstance(points, WirePoints):
        batches = [decode_arrow(message.body(), 1000) for message in split(points.batches, 1000, 1 << 20)]
    else:
        encode = PointJson().row
        rows = [encode(index, row) for index, row in enumerate(points)]
        batches = [decode_points(b'{"points":[' + b",".join(rows) + b"]}", 100_000)] if rows else []
    return [
        (
            batch.ids[row],
            {name: np.frombuffer(c[row], "<f4").tolist() for name, c in batch.columns.items() if c[row] is not None},  # pyright: ignore
            batch.payloads[row],
            batch.versions[row] if batch.versions else None,
        )
        for batch in batches
        for row in range(len(batch))
    ]


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path, names: ColumnNames | None = None, **options: Any) -> str:
    with pytest.raises((BadFile, InvalidPoint)) as caught:
        read(path, names, **options)
    return str(caught.value)


EXPECTED = [(row["id"], {"": row["vector"]}, {"text": row["text"], "n": row["n"]}, None) for row in ROWS_OF_TEXT]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS_OF_TEXT)


def zstandard(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("a.jsonl", LINES.replace("\n", "\r\n\r\n").encode()),
        ("a.ndjson", json.dumps(ROWS_OF_TEXT).encode()),
        ("a.json", b"\xef\xbb\xbf" + json.dumps(ROWS_OF_TEXT, indent=2).encode()),
        ("a.json", "".join(json.dumps(row, indent=1) for row in ROWS_OF_TEXT).encode()),
        ("a.jsonl", "\n".join(json.dumps(row, indent=1) for row in ROWS_OF_TEXT).encode()),
        ("a.json", LINES.encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
        ("a.jsonl.gz", gzip.compress(LINES[:50].encode()) + gzip.compress(LINES[50:].encode())),
        ("a.json.gz", gzip.compress(json.dumps(ROWS_OF_TEXT).encode())),
        ("a.jsonl.zst", zstandard(LINES.encode())),
        ("a.jsonl.zst", zstandard(LINES[:50].encode()) + zstandard(LINES[50:].encode())),
    ],
)
def test_json_in_every_form_is_the_same_points(tmp_path: Path, name: str, content: bytes) -> None:
    file = written(tmp_path / f"\udce9{name}", content)
    assert read(file) == EXPECTED
    assert read(file, start=1) == EXPECTED[1:]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b"[", "line 1: not JSON"),
        ("a.json", b'[{"id": 1, "vector": [1.0]}', "line 1: not JSON: the array has no end"),
        ("a.json", b'[{"id": 1, "vector": [1.0]} {}]', "expected a comma"),
        ("a.json", b'[{"id": 1, "vector": [1.0]},\n]', "line 2: not JSON"),
        ("a.json", b'[{"id": 1, "vector": [1.0]}] 1', "text after the end"),
        ("a.json", b'[{"id": 1, "vector": [1.0]},\n\n{"id": 2, "x": NaN}]', "line 3: not JSON: NaN is not JSON"),
        ("a.json", b'[\n{"id": 1, "vector": [1.0]}, [1]]', "object 2 at line 2: expected a JSON object"),
        ("a.json", b'[\n{"id": 1, "vector": [1.0]},\n{"id": 2}]', "object 2 at line 3: vector: missing"),
        ("a.json", b'{"id": 1, "vector": [1.0], "a": {"b": 1, "b": 2}}', "b: duplicate key"),
        ("a.json", b'{"id": 1, "vector": [1.0], "a": "\\ud800"}', "points[0].payload: a: not Unicode"),
        ("a.json", b'{"id": 1, "vector": [1.0], "a": 9223372036854775808}', "points[0].payload: a: an integer"),
        ("a.json", b'{"id": 1, "vector": [1.0], "a": 1e999}', "points[0].payload: a: infinite"),
        ("a.json", b'{"id": 1, "vector": [1.0], "a": "\xff"}', "not UTF-8"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0], "a": "\xff"}', "line 1: not UTF-8"),
        ("a.jsonl", b"\xff\xfe{\0}\0", "line 1: UTF-16"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0], "a": NaN}', "line 1: NaN is not JSON; write null"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0], "a": -Infinity}', "line 1: -Infinity is not JSON"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0]},\n', "line 1: a comma behind the object"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0], "a": 1, "a": 2}', "line 1: a: duplicate key"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0], "a": [18446744073709551616]}', "payload: a[0]: an integer beyond"),
        ("a.jsonl", b'{"id": 18446744073709551616, "vector": [1.0]}', "points[0].id: an integer id has to be between"),
        ("a.jsonl", b'{"id": 1, "vector": [1.0], "payload": {"a": 1}, "a": 2}', "the key 'a' is a column too"),
        ("a.jsonl.gz", gzip.compress(LINES.encode())[:-12], "cannot be read"),
        ("a.jsonl.zst", zstandard(LINES.encode())[:-4], "cannot be read"),
        ("a.jsonl.gz", b"x", "cannot be read"),
    ],
)
def test_json_that_is_wrong_is_refused_with_its_place(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    assert told in refused(written(tmp_path / name, content))


@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)),
        max_size=5,
    ),
    st.integers(1, 40),
)
def test_documents_are_read_whatever_the_pieces(objects: list[dict[str, Any]], piece: int) -> None:
    text = json.dumps(objects, ensure_ascii=False).encode()

    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(piece)

    assert list(JsonDocuments("x", lambda: Pieces(text), ColumnNames()).objects()) == objects


def table(path: Path, *rows: list[Any], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


HEADER = ["id", "vector", "version", "zip", "n", "price", "ok", "mixed", "empty"]
CELLS = [
    ["1", "[1.0, 0.5]", "3", "02134", "7", "3.30", "true", "1", ""],
    ["2", "{0,-1}", "", "10001", "-8", "1e3", "False", "x", ""],
]


def test_cells_of_csv_are_text_but_for_id_vector_and_version(tmp_path: Path) -> None:
    assert read(table(tmp_path / "a.csv", HEADER, *CELLS)) == [
        (1, {"": [1.0, 0.5]}, {"zip": "02134", "n": "7", "price": "3.30", "ok": "true", "mixed": "1"}, 3),
        (2, {"": [0.0, -1.0]}, {"zip": "10001", "n": "-8", "price": "1e3", "ok": "False", "mixed": "x"}, None),
    ]


def test_types_of_csv_are_those_of_whole_columns_and_no_zero_is_lost(tmp_path: Path) -> None:
    found = read(table(tmp_path / "a.csv", HEADER, *CELLS), csv_types=True)
    assert [payload for _, _, payload, _ in found] == [
        {"zip": "02134", "n": 7, "price": 3.3, "ok": True, "mixed": "1"},
        {"zip": "10001", "n": -8, "price": 1000.0, "ok": False, "mixed": "x"},
    ]
    assert type(found[0][2]["n"]) is int
    long = [["id", "vector", "a", "b"], ["1", "1 2", str(2**63), "0.12345678901234567890"]]
    assert read(table(tmp_path / "b.csv", *long), csv_types=True)[0][2] == {"a": str(2**63), "b": long[1][3]}


@given(st.lists(st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?", fullmatch=True), min_size=1, max_size=4))
def test_an_inferred_cell_says_the_same_number_or_stays_text(tmp_path_factory: Any, cells: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    rows = [[str(row), "1 2", cell] for row, cell in enumerate(cells)]
    for cell, (_, _, payload, _) in zip(
        cells, read(table(path, ["id", "vector", "x"], *rows), csv_types=True), strict=True
    ):
        assert payload["x"] == cell or Decimal(json.dumps(payload["x"])) == Decimal(cell)
        zero = cell.lstrip("-")
        assert isinstance(payload["x"], str) or not (zero[0] == "0" and zero[1:2].isdigit())


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".csv", ";"), (".tsv", "\t"), (".csv", "\t")])
@pytest.mark.parametrize("vector", ["[0.5, 1.0]", "[0.5 1.]", "{0.5,1}", "0.5 1", "AAAAPwAAgD8="])
def test_vectors_in_csv_are_read_as_people_write_them(tmp_path: Path, ending: str, delimiter: str, vector: str) -> None:
    rows = [["text", "id", "vector"], ["a\nb", "7", vector]]
    file = table(tmp_path / f"a{ending}", *rows, delimiter=delimiter)
    assert read(file) == [(7, {"": [0.5, 1.0]}, {"text": "a\nb"}, None)]
    (packed := tmp_path / f"b{ending}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + file.read_bytes()))
    assert read(packed) == read(file)


def test_a_csv_of_embeddings_has_cells_of_any_length(tmp_path: Path) -> None:
    numbers = str([0.123456789] * 20_000)
    ((_, vectors, _, _),) = read(table(tmp_path / "a.csv", ["id", "vector"], ["1", numbers]))
    assert len(vectors[""]) == 20_000


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([["id", "vector", "a", "a"], ["1", "1 2", "x", "y"]], "2 columns are called 'a'"),
        ([["id", "vector"], ["1", "1 2", "3"]], "line 2: 3 cells, the header has 2"),
        ([["id", "vector"], ["1", "1 x"]], "line 2: vector: expected numbers"),
        ([["id", "vector"], ["007", "1 2"]], "points[0].id: a string id has to be a UUID"),
        ([["id", "text"], ["1", "x"]], "no column 'vector'; there are id, text; --vector-column"),
        ([["doc", "vector"], ["1", "1 2"]], "no column 'id'; there are doc, vector; --id-column"),
        ([["id", "vector", "version"], ["1", "1 2", "new"]], "points[0].version"),
        ([["id", "vector", "payload"], ["1", "1 2", "[1]"]], "payload: expected an object"),
    ],
)
def test_csv_that_is_wrong_is_refused_with_its_line(tmp_path: Path, rows: list[list[str]], told: str) -> None:
    assert told in refused(table(tmp_path / "a.csv", *rows))
    assert "not UTF-8" in refused(written(tmp_path / "b.csv", b"id,vector,t\n1,1 2,\xff\n"))


def test_arrays_of_an_archive_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    when = np.array(["2026-01-02T03:04:05.123456789", "NaT"], "datetime64[ns]")
    matrix = np.ones((2, 3, 4), np.float32)
    np.savez(
        path, ids=np.array([1, 2]), vectors=np.eye(2, 3), n=np.array([2**53 + 1, -1]), t=["a", "b"], at=when, m=matrix
    )
    first, second = read(path)
    assert (first[0], first[1]) == (1, {"": [1.0, 0.0, 0.0]})
    assert first[2] == {
        "n": 2**53 + 1,
        "t": "a",
        "at": "2026-01-02T03:04:05.123456789+00:00",
        "m": [[1.0] * 4] * 3,
    }
    assert (second[2] or {})["at"] is None
    assert read(path, start=1) == [second]
    np.savez(path, id=np.array([1, 2]), vector=np.eye(3))
    assert "different lengths: id (2,), vector (3, 3)" in refused(path)
    np.savez(path, id=np.array([1]), vector=np.eye(1), big=np.array([2**63], np.uint64))
    assert "points[0].payload: big: an integer beyond" in refused(path)
    np.savez(path, id=np.array([object()]), vector=np.eye(1))
    assert "not a .npz file of plain arrays" in refused(path)


def test_named_vectors_are_fields_of_json_or_an_object_or_a_struct(tmp_path: Path) -> None:
    fields = {"id": 1, "vector.title": [1.0], "vector.body": [0.0, 1.0], "vector.none": None, "t": "a"}
    expected = [(1, {"title": [1.0], "body": [0.0, 1.0]}, {"t": "a"}, None)]
    assert read(written(tmp_path / "a.jsonl", json.dumps(fields))) == expected
    nested = {"id": 1, "vector": {"title": [1.0], "body": [0.0, 1.0]}, "t": "a"}
    assert read(written(tmp_path / "b.jsonl", json.dumps(nested))) == expected
    kind = pa.struct([("title", pa.list_(pa.float32())), ("body", pa.list_(pa.float64()))])
    pq.write_table(
        pa.table({"id": [1], "vector": pa.array([nested["vector"]], kind), "t": ["a"]}), tmp_path / "c.parquet"
    )
    assert read(tmp_path / "c.parquet") == expected


def test_a_column_called_version_may_be_data(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", json.dumps({"id": 1, "vector": [1.0], "version": "1.2.3", "v": 7}))
    assert "points[0].version" in refused(file)
    assert read(file, ColumnNames(version=None))[0][2:] == ({"version": "1.2.3", "v": 7}, None)
    assert read(file, ColumnNames(version="v"))[0][2:] == ({"version": "1.2.3"}, 7)
    pq.write_table(pa.table({"id": [1], "vector": [[1.0]], "version": ["1.2.3"], "v": [7]}), tmp_path / "a.parquet")
    assert "column 'version' is string" in refused(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", ColumnNames(version=None))[0][2:] == ({"version": "1.2.3", "v": 7}, None)
    assert read(tmp_path / "a.parquet", ColumnNames(version="v"))[0][2:] == ({"version": "1.2.3"}, 7)


def test_decimals_are_numbers_where_they_are_exact_or_text_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    def write(*values: str) -> None:
        prices = pa.array(list(map(Decimal, values)), pa.decimal128(38, 18))
        keys = pa.array([10**30 + row for row in range(len(values))], pa.decimal128(38, 0))
        pq.write_table(pa.table({"key": keys, "vector": [[1.0]] * len(values), "price": prices}), path)

    names = ColumnNames(key=("key",), payload=("price",))
    write("3.3", "2")
    assert [payload for _, _, payload, _ in read(path, names)] == [{"price": 3.3}, {"price": 2.0}]
    write("3.3", "12345678901234567.125")
    assert "points[1].price: has more digits than a 64-bit float keeps" in refused(path, names)
    text = ColumnNames(key=("key",), payload=("price",), decimals="text")
    found = read(path, text)
    assert [payload for _, _, payload, _ in found] == [
        {"price": "3.300000000000000000"},
        {"price": "12345678901234567.125000000000000000"},
    ]
    assert [id_ for id_, *_ in found] == [point_id(10**30), point_id(10**30 + 1)]


def test_ids_and_versions_may_be_decimals_without_places(tmp_path: Path) -> None:
    columns = {"id": pa.array([1, 2], pa.decimal128(38, 0)), "version": pa.array([7, None], pa.decimal128(10, 0))}
    pq.write_table(pa.table({**columns, "vector": [[1.0], [2.0]]}), tmp_path / "a.parquet")
    assert [(id_, version) for id_, _, _, version in read(tmp_path / "a.parquet")] == [(1, 7), (2, None)]
    pq.write_table(pa.table({"id": pa.array([-1], pa.decimal128(38, 0)), "vector": [[1.0]]}), tmp_path / "a.parquet")
    assert "points[0].id: an integer id has to be between" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl", "json", "csv"])
def test_the_same_key_is_the_same_id_from_every_file(tmp_path: Path, kind: str) -> None:
    # Names of files are bytes; these are not UTF-8.
    path, keys = tmp_path / f"a\udce9.{kind}", [1, 42, 2**60]
    match kind:
        case "arrow":
            columns = {"key": pa.array(keys, pa.decimal128(38, 0)), "vector": [[1.0, 2.0]] * 3}
            with path.open("wb") as file, pa.ipc.new_stream(file, (whole := pa.table(columns)).schema) as stream:
                stream.write_table(whole)
        case "parquet":
            columns = {"key": pa.array(keys, pa.decimal128(38, 0)), "vector": [[1.0, 2.0]] * 3}
            with path.open("wb") as file:
                pq.write_table(pa.table(columns), file)
        case "csv":
            table(path, ["key", "vector"], *([str(key), "1 2"] for key in keys))
        case "json":
            written(path, json.dumps([{"key": key, "vector": [1.0, 2.0]} for key in keys]))
        case _:
            written(path, "\n".join(json.dumps({"key": float(key), "vector": [1.0, 2.0]}) for key in keys))
    assert [id_ for id_, *_ in read(path, ColumnNames(key=("key",)))] == [point_id(key) for key in keys]


def with_wide_integers(path: Path, values: list[int], signed: bool) -> Path:
    """A Parquet file as Polars writes it: bytes, and beside them a schema that says 128-bit integer."""
    kind = pa.int64() if signed else pa.uint64()
    message = pa.schema([("vector", pa.list_(pa.float32())), ("wide", kind)]).serialize().to_pybytes()
    width = b"\x40\0\0\0"
    wide = [
        message[:at] + b"\x80\0\0\0" + message[at + 4 :] for at in range(len(message)) if message[at:].startswith(width)
    ]
    (noted,) = filter(too_wide, wide)
    raw = pa.array([value.to_bytes(16, "little", signed=signed) for value in values], pa.binary(16))
    table = pa.table({"id": range(len(values)), "vector": [[1.0]] * len(values), "wide": raw})
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"arrow.schema": base64.b64encode(noted).decode()})
    path.write_bytes(path.read_bytes().replace(b"arrow.schema", b"ARROW:schema"))
    return path


def too_wide(message: bytes) -> bool:
    try:
        pa.ipc.read_schema(pa.py_buffer(message))
    except pa.ArrowNotImplementedError as error:
        return "more than 64 bits" in str(error)
    except (pa.ArrowException, OSError):
        return False
    return False


@pytest.mark.parametrize("signed", [True, False])
def test_integers_of_128_bits_are_exact_where_they_fit(tmp_path: Path, signed: bool) -> None:
    values = [2**63 - 1, -(2**63) if signed else 0]
    path = with_wide_integers(tmp_path / "a.parquet", values, signed)
    assert [(payload or {})["wide"] for _, _, payload, _ in read(path)] == values
    with_wide_integers(path, [1, 2**100], signed)
    assert "points[1].wide: an integer beyond 64 bits" in refused(path)


def test_a_small_file_is_checked_whole_before_any_of_it_is_given_out() -> None:
    rows = [(index, [1.0], None, None) for index in range(200)]
    assert len(list(encoded(iter(rows), 1000).points)) == 200
    rows[150] = (-1, [1.0], None, None)
    with pytest.raises(InvalidPoint, match=r"points\[150\].id"):
        encoded(iter(rows), 1000)
    with pytest.raises(InvalidPoint, match=r"points\[0\]: .* bytes as JSON"):
        encoded(iter([(0, [1.0] * 2000, None, None)]), 1000)
    many = [(index if index <= ROWS else -1, [1.0], None, None) for index in range(ROWS + 2)]
    points = encoded(iter(many), 1000).points
    assert next(points)
    with pytest.raises(InvalidPoint):
        list(points)


def test_tables_are_read_ahead_too() -> None:
    batch = pa.record_batch({"id": [1] * 100})

    def batches(bad: int) -> Any:
        for number in range(200):
            if number == bad:
                raise InvalidPoint(number, None, "bad")
            yield batch

    assert sum(each.num_rows for each in checked(WirePoints(batches(-1))).batches) == 20_000
    with pytest.raises(InvalidPoint):
        checked(WirePoints(batches(99)))
    assert checked(WirePoints(batches(101)))
