"""Files that are damaged, cut or strange are read as far as they go or refused, and nothing else."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memq import InvalidPoint
from memq.encode.arrow import WirePoints
from memq_cli.sources import BadFile, ColumnNames, open_source
from memq_cli.sources.read_ahead import checked, encoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

LIMIT = 1 << 20
ROWS = [{"id": row, "vector": [1.0, row / 2], "text": f"row {row}", "tags": ["a", None]} for row in range(40)]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
CSV = b"id,vector,text\n" + b"".join(b'%d,"[1, 2]","a, ""b"""\n' % row for row in range(40))


def read(path: Path, names: ColumnNames | None = None, **options: Any) -> int:
    """Return the number of points that would be sent. Raises BadFile and InvalidPoint."""
    points: Any = open_source(str(path), names or ColumnNames(), **options).points()
    if isinstance(points, WirePoints):
        return sum(batch.num_rows for batch in checked(points).batches)
    return len(list(encoded(points, LIMIT).points))


def refused(path: Path, names: ColumnNames | None = None, **options: Any) -> str:
    with pytest.raises((BadFile, InvalidPoint)) as caught:
        read(path, names, **options)
    return str(caught.value)


def packed(write: Callable[[Any], None]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def stream(table: Any, file: Any, opening: Any) -> None:
    with opening(file, table.schema) as writer:
        writer.write_table(table)


TABLE = pa.Table.from_pylist(ROWS)
ARRAYS = {"id": np.arange(40), "vector": np.ones((40, 2), np.float32), "text": np.array(["a"] * 40)}
FILES: dict[str, bytes] = {
    "a.jsonl": LINES,
    "a.jsonl.gz": gzip.compress(LINES),
    "a.jsonl.zst": pa.Codec("zstd").compress(LINES, asbytes=True),
    "a.json": json.dumps(ROWS).encode(),
    "a.json.gz": gzip.compress(json.dumps(ROWS).encode()),
    "a.csv": CSV,
    "a.csv.gz": gzip.compress(CSV),
    "a.parquet": packed(lambda file: pq.write_table(TABLE, file)),
    "a.npy": packed(lambda file: np.save(file, ARRAYS["vector"])),
    "a.npz": packed(lambda file: np.savez_compressed(file, **ARRAYS)),  # pyright: ignore[reportArgumentType]
    "a.arrow": packed(lambda file: stream(TABLE, file, pa.ipc.new_file)),
    "a.arrows": packed(lambda file: stream(TABLE, file, pa.ipc.new_stream)),
}


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """Return the content with bytes overwritten, removed or inserted, or with its end cut off or extended."""
    start = draw(st.integers(0, len(content)))
    length = draw(st.sampled_from([0, 1, 2, 8, 40, len(content)]))
    return content[:start] + draw(st.binary(max_size=12)) + content[start + length :]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(FILES[name])
    assert read(path) == 40

    @settings(max_examples=60)
    @given(damage(FILES[name]))
    def look(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(BadFile, InvalidPoint):
            read(path)

    look()


DEEP = 900
STRANGE: list[tuple[str, bytes, str]] = [
    ("a.jsonl", b'{"id":1,"vector":[1],"x":' + b"[" * 9000 + b"]" * 9000 + b"}", "line 1: nested more than"),
    (
        "a.json",
        b'[{"id":1,"vector":[1],"x":' + b"[" * 9000 + b"]" * 9000 + b"}]",
        "nested",  # the parser of Python 3.13 reads it, and its payload is refused instead
    ),
    ("a.jsonl", b'{"id":1,"vector":[1],"x":' + b"[" * DEEP + b"]" * DEEP + b"}", "points[0].payload: x[0]"),
    ("a.jsonl", b'{"id":1,"vector":[1],"payload":{"x":1},"x":true}', "the key 'x' is a column too"),
    ("a.jsonl", b'{"id":1,"vector":[1],"payload":{"x":[{"y":1}]},"x":[{"y":1.0}]}', "the key 'x' is a column too"),
    ("a.csv", b'1,"[1,2]",text\n', "no column 'vector'; there are 1, [1,2], text"),
    ("a.csv", b'id,vector,t\n1,"[1,2]","no end\n', "line 2 or after it"),
    ("a.csv", b'id,vector,payload\n1,"[1]","' + b"[" * 9000 + b'"\n', "line 2: payload: "),
    ("a.npz", packed(np.savez), "no column 'vector'; there are none"),
    ("a.arrows", FILES["a.arrows"] * 2, "data after the end of the stream"),
    ("a.parquet", packed(lambda file: pq.write_table(pa.table({}), file)), "no column 'vector'; there are none"),
    ("a.parquet", FILES["a.parquet"].replace(b"text", b"te\xfft"), "the name of a column is not UTF-8"),
]


@pytest.mark.parametrize(("name", "content", "told"), STRANGE)
def test_a_strange_file_is_refused_with_its_place(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert told in refused(tmp_path / name)


def test_values_that_json_writes_alike_may_be_in_the_payload_and_a_column(tmp_path: Path) -> None:
    row = {"id": 1, "vector": [1.0], "payload": {"x": {"a": [1], "b": None}}, "x": {"b": None, "a": [1]}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read(tmp_path / "a.jsonl") == 1


def arrow(path: Path, **columns: Any) -> Path:
    with path.open("wb") as file:
        stream(pa.table({"id": [1], "vector": [[1.0]]} | columns), file, pa.ipc.new_file)
    return path


NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"], pa.binary()).buffers())


def test_ids_and_vectors_of_types_that_hold_none_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": NOT_UTF8, "vector": [[1.0]]}), tmp_path / "a.parquet")
    assert "points[0].id: not UTF-8" in refused(tmp_path / "a.parquet")
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8()))
    assert "column 'id' is " in refused(arrow(tmp_path / "b.arrow", id=flags))
    assert "column 'vector' is struct<>" in refused(arrow(tmp_path / "c.arrow", vector=pa.array([{}], pa.struct([]))))
    assert "UTF8" in refused(arrow(tmp_path / "d.arrow", text=NOT_UTF8))
