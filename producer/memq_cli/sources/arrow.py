"""Parquet and Arrow IPC through pyarrow, batch by batch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from memq.encode.arrow import PointTable, WirePoints
from memq.encode.arrow.library import pyarrow
from memq.encode.column_names import ColumnError
from memq.errors import InvalidRequest
from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.hints import hint
from memq_cli.sources.wide_integers import WideIntegers, without_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from memq.encode.column_names import ColumnNames

ROWS = 1000
# Of each column at a time. Without it whole column chunks are read, and a row group may be as large as the file.
BUFFER_BYTES = 256 * 1024

_NOT_UTF8 = "the name of a column is not UTF-8"


class ArrowTable:
    """batches: record batches from this row on."""

    def __init__(
        self, path: Path, total: int | None, schema: Any, batches: Callable[[int], Iterator[Any]], columns: ColumnNames
    ) -> None:
        self.name = str(path)
        self.total = total
        self._schema = schema
        self._batches = batches
        self._columns = columns
        self.points()

    def place(self, index: int) -> str:
        return f"{self.name}, row {index} (from 0)"

    def points(self, start: int = 0) -> WirePoints:
        """Raises BadFile."""
        try:
            table = PointTable(self._schema, self._read(start), self._columns, start)
        except ColumnError as error:
            raise BadFile(f"{self.name}: {error}{hint(error.column, self._columns)}") from None
        except InvalidRequest as error:
            raise BadFile(f"{self.name}: {error}") from None
        except UnicodeDecodeError:
            raise BadFile(f"{self.name}: {_NOT_UTF8}") from None
        return WirePoints(table.wire())

    def _read(self, start: int) -> Iterator[Any]:
        row = start
        try:
            for batch in self._batches(start):
                row += batch.num_rows
                yield batch
        except (pyarrow().ArrowException, OSError) as error:
            raise BadFile(f"{self.place(row)}: unreadable from here on: {error}") from None


def parquet(path: Path, columns: ColumnNames) -> ArrowTable:
    """Raises BadFile."""
    file, wide = _parquet(path)
    schema = file.schema_arrow

    def batches(start: int) -> Iterator[Any]:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        group = 0
        while group < len(sizes) and start >= sizes[group]:
            start -= sizes[group]
            group += 1
        groups = list(range(group, len(sizes)))
        found = file.iter_batches(batch_size=ROWS, row_groups=groups)
        return _from_row(found if wide is None else wide.batches(found), start)

    return ArrowTable(path, file.metadata.num_rows, schema if wide is None else wide.schema(schema), batches, columns)


def _parquet(path: Path) -> tuple[Any, WideIntegers | None]:
    pa = _pyarrow()
    wide = None
    try:
        # By its path pyarrow opens names in UTF-8 alone.
        opened: Any = pa.OSFile(os.fsencode(path))
        try:
            file = pyarrow(".parquet").ParquetFile(opened, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except pa.ArrowNotImplementedError:
            readable = without_note(path)
            if readable is None:
                raise
            opened, wide = readable
            file = pyarrow(".parquet").ParquetFile(opened, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except pa.ArrowException as error:
        raise BadFile(f"{path}: not a Parquet file that can be read: {error}") from None
    except UnicodeDecodeError:
        raise BadFile(f"{path}: {_NOT_UTF8}") from None
    return file, wide


def ipc(path: Path, columns: ColumnNames) -> ArrowTable:
    """An Arrow IPC file (Feather version 2) or stream. Raises BadFile."""
    pa = _pyarrow()
    try:
        file = pa.ipc.open_file(pa.memory_map(os.fsencode(path)))
        total = _rows(file)
    except pa.ArrowInvalid:
        return _ipc_stream(path, columns, pa)
    except pa.ArrowException as error:
        raise BadFile(f"{path}: cannot be read: {error}") from None

    def batches(start: int) -> Iterator[Any]:
        return _from_row(_valid(file.get_batch(number) for number in range(file.num_record_batches)), start)

    return ArrowTable(path, total, file.schema, batches, columns)


def _rows(file: Any) -> int:
    # Reading a batch decompresses it; but pyarrow has not always had another way to count.
    if hasattr(file, "count_rows"):
        return file.count_rows()
    return sum(file.get_batch(number).num_rows for number in range(file.num_record_batches))


def _ipc_stream(path: Path, columns: ColumnNames, pa: Any) -> ArrowTable:
    def batches(start: int) -> Iterator[Any]:
        file = pa.memory_map(os.fsencode(path))
        yield from _from_row(_valid(iter(pa.ipc.open_stream(file))), start)
        if file.tell() < file.size():
            raise OSError(f"data after the end of the stream, at byte {file.tell()}; expected one stream")

    try:
        schema = pa.ipc.open_stream(pa.memory_map(os.fsencode(path))).schema
    except pa.ArrowInvalid as error:
        raise BadFile(f"{path}: neither an Arrow IPC file nor a stream: {error}") from None
    except pa.ArrowException as error:
        raise BadFile(f"{path}: cannot be read: {error}") from None
    return ArrowTable(path, None, schema, batches, columns)


def _valid(batches: Iterator[Any]) -> Iterator[Any]:
    # pyarrow ends the process where offsets of a damaged file lead out of it.
    for batch in batches:
        batch.validate(full=True)
        yield batch


def _from_row(batches: Iterator[Any], start: int) -> Iterator[Any]:
    for batch in batches:
        if start < batch.num_rows:
            yield batch.slice(start)
        start = max(0, start - batch.num_rows)


def _pyarrow() -> Any:
    try:
        return pyarrow()
    except InvalidRequest:
        raise BadFile('reading Parquet and Arrow files needs pyarrow: pip install "memq[arrow]"') from None
