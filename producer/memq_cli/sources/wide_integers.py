"""Integers of 128 bits, as Polars writes them to Parquet, which pyarrow refuses to read for the schema beside them."""

from __future__ import annotations

import base64
import io
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

from memq.encode.arrow.library import pyarrow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOTE, _OTHER = b"ARROW:schema", b"arrow.schema"
_INTEGER = 2  # Type.Int of Arrow's Schema.fbs
_BYTES = 16


class WideIntegers:
    """columns: which of them are 128-bit integers, and whether they are signed."""

    def __init__(self, columns: dict[str, bool]) -> None:
        self._columns = columns

    def schema(self, schema: Any) -> Any:
        """Convert the integers to equal decimals without places."""
        for name in self._columns:
            at = schema.get_field_index(name)
            schema = schema.set(at, pyarrow().field(name, pyarrow().decimal256(39, 0)))
        return schema

    def batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield pyarrow().record_batch(
                [self._read(batch.column(name), name) for name in batch.schema.names], schema=self.schema(batch.schema)
            )

    def _read(self, column: Any, name: str) -> Any:
        if name not in self._columns:
            return column
        signed = self._columns[name]
        values = [None if raw is None else int.from_bytes(raw, "little", signed=signed) for raw in column.to_pylist()]
        return pyarrow().array(values, pyarrow().decimal256(39, 0))


def without_note(path: Path) -> tuple[BinaryIO, WideIntegers] | None:
    """The file without the schema that Arrow notes in it, if there are such integers at its top level."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - 8))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little") + 8
        if tail[4:] != b"PAR1" or length > size:
            return None
        file.seek(size - length)
        footer = file.read()
    start = footer.find(_NOTE)
    if start < 0:
        return None
    text = footer[start + len(_NOTE) :]
    begin = text.find(b"/////")
    columns = _wide(text[begin:]) if begin >= 0 else {}
    if not columns:
        return None
    return io.BufferedReader(_Overlaid(path, size - length, footer.replace(_NOTE, _OTHER))), WideIntegers(columns)


def _wide(text: bytes) -> dict[str, bool]:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    encoded = text[: len(text) - len(text.lstrip(alphabet))]
    data = base64.b64decode(encoded[: len(encoded) // 4 * 4])[8:]
    try:
        schema = _Table.root(data).table(2)
        return dict(_fields(schema))
    except (struct.error, UnicodeDecodeError, IndexError):
        return {}


def _fields(schema: _Table) -> Iterator[tuple[str, bool]]:
    for field in schema.tables(1):
        if field.number(2, "B") == _INTEGER:
            kind = field.table(3)
            if kind.number(0, "i") == _BYTES * 8:
                yield field.text(0), bool(kind.number(1, "B"))


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data)[0])

    def number(self, index: int, kind: str) -> int:
        at = self._place(index)
        return struct.unpack_from(f"<{kind}", self._data, at)[0] if at else 0

    def table(self, index: int) -> _Table:
        return _Table(self._data, self._target(self._place(index)))

    def text(self, index: int) -> str:
        at = self._target(self._place(index))
        (length,) = struct.unpack_from("<I", self._data, at)
        return self._data[at + 4 : at + 4 + length].decode()

    def tables(self, index: int) -> Iterator[_Table]:
        at = self._target(self._place(index))
        (length,) = struct.unpack_from("<I", self._data, at)
        for each in range(at + 4, at + 4 + 4 * length, 4):
            yield _Table(self._data, self._target(each))

    def _target(self, at: int) -> int:
        return at + struct.unpack_from("<I", self._data, at)[0]

    def _place(self, index: int) -> int:
        vtable = self._at - struct.unpack_from("<i", self._data, self._at)[0]
        (size,) = struct.unpack_from("<H", self._data, vtable)
        if 4 + 2 * index >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, vtable + 4 + 2 * index)
        return self._at + offset if offset else 0


class _Overlaid(io.RawIOBase):
    """A file whose end is another."""

    def __init__(self, path: Path, start: int, end: bytes) -> None:
        self._file = path.open("rb")
        self._start = start
        self._end = end
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._start + len(self._end)}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        if self._at >= self._start:
            data = self._end[self._at - self._start :][:wanted]
        else:
            self._file.seek(self._at)
            data = self._file.read(min(wanted, self._start - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
