"""Parquet and Arrow IPC through pyarrow, batch by batch."""

from __future__ import annotations

from datetime import UTC
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from memq.sources.columns import BadFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from memq.sources.columns import ColumnNames, Row

ROWS = 1024


def arrow(part: str = "") -> Any:
    """pyarrow or one of its modules; it carries no types. Raises BadFile when it is not installed."""
    try:
        return import_module(f"pyarrow{part}")
    except ImportError:
        raise BadFile('reading Parquet and Arrow files needs pyarrow: pip install "memq[arrow]"') from None


class ArrowTable:
    def __init__(self, name: str, total: int | None, schema: Any, batches: Callable[[], Iterator[Any]]) -> None:
        self.name = name
        self.total = total
        self._schema = schema
        self._batches = batches
        self._columns: ColumnNames | None = None
        self._index = 0

    @property
    def place(self) -> str:
        return f"{self.name}, row {self._index} (from 0)"

    def naming(self, columns: ColumnNames) -> ArrowTable:
        """Raises BadFile for a column that is not there or cannot become JSON."""
        names = self._schema.names
        wanted = [columns.vector, *(columns.key or (() if columns.start is not None else (columns.id,)))]
        for name in (*wanted, *(columns.payload or ())):
            if name not in names:
                raise BadFile(f"{self.name}: no column {name!r}; there are {', '.join(names)}")
        for field in self._schema:
            self._require_json(field, columns)
        self._columns = columns
        return self

    def rows(self) -> Iterator[Row]:
        """Raises BadFile."""
        assert self._columns is not None
        for batch in self._batches():
            table = {name: batch.column(name) for name in batch.schema.names}
            vectors = _vectors(table.pop(self._columns.vector))
            rest = {name: _values(name, column) for name, column in table.items()}
            for at in range(batch.num_rows):
                fields = {name: column[at] for name, column in rest.items() if column[at] is not None}
                try:
                    yield self._columns.row(self._index, fields, vectors[at])
                except ValueError as error:
                    raise BadFile(f"{self.place}: {error}") from None
                self._index += 1

    def _require_json(self, field: Any, columns: ColumnNames) -> None:
        types = arrow(".types")

        if field.name in (columns.vector, columns.id) or (columns.payload and field.name not in columns.payload):
            return
        if any(is_it(field.type) for is_it in (types.is_binary, types.is_large_binary, types.is_duration)):
            raise BadFile(
                f"{self.name}: column {field.name!r} is {field.type}, which JSON cannot say; "
                "name the columns to take with --payload-columns"
            )


def parquet(path: Path) -> ArrowTable:
    """Raises BadFile."""
    pa = arrow()
    try:
        file = arrow(".parquet").ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise BadFile(f"{path}: not a Parquet file: {error}") from None
    return ArrowTable(str(path), file.metadata.num_rows, file.schema_arrow, lambda: file.iter_batches(batch_size=ROWS))


def ipc(path: Path) -> ArrowTable:
    """An Arrow IPC file (Feather version 2) or stream. Raises BadFile."""
    pa = arrow()
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid:
        return _ipc_stream(path, pa)
    total = sum(file.get_batch(number).num_rows for number in range(file.num_record_batches))

    def batches() -> Iterator[Any]:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            yield from (batch.slice(start, ROWS) for start in range(0, batch.num_rows, ROWS))

    return ArrowTable(str(path), total, file.schema, batches)


def _ipc_stream(path: Path, pa: Any) -> ArrowTable:
    try:
        stream = pa.ipc.open_stream(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        raise BadFile(f"{path}: neither an Arrow IPC file nor a stream: {error}") from None
    return ArrowTable(str(path), None, stream.schema, lambda: iter(stream))


def _vectors(column: Any) -> Any:
    """A matrix where all rows are vectors of one length, else whatever each row is."""
    types = arrow(".types")

    lists = any(is_it(column.type) for is_it in (types.is_list, types.is_large_list, types.is_fixed_size_list))
    if not lists or column.null_count or not len(column):
        return column.to_pylist()
    flat = column.flatten()
    if flat.null_count or len(flat) % len(column):
        return column.to_pylist()
    if not types.is_fixed_size_list(column.type):
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if np.ptp(lengths):
            return column.to_pylist()
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _values(name: str, column: Any) -> list[Any]:
    pa, types = arrow(), arrow(".types")

    if types.is_timestamp(column.type):
        return _moments(column)
    if types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: list[Any] = column.to_pylist()
    if name == "payload" and (types.is_string(column.type) or types.is_large_string(column.type)):
        return [None if value is None else _json(value) for value in values]
    return values


def _moments(column: Any) -> list[datetime | None]:
    # Python's datetimes stop at microseconds. Arrow keeps instants in UTC; cast to no zone it needs no zone database,
    # which small images do not have.
    moments: list[datetime | None] = column.cast(arrow().timestamp("us"), safe=False).to_pylist()
    if column.type.tz is None:
        return moments
    return [None if moment is None else moment.replace(tzinfo=UTC) for moment in moments]


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text
