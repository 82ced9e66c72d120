"""Anything that speaks the Arrow C stream interface, read batch by batch into columns as workers take them."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from memq.encode.arrow import payloads
from memq.encode.arrow.ids import expect_ids, ids_of, wire_ids
from memq.encode.arrow.library import pyarrow
from memq.encode.arrow.messages import ROWS
from memq.encode.arrow.vectors import expect_vectors, wire_vectors
from memq.encode.arrow.versions import expect_versions, wire_versions
from memq.encode.column_names import ColumnNames
from memq.encode.vectors import VectorJson
from memq.errors import InvalidPoint, InvalidRequest
from memq_schemas.ids import MAX_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAMED = "vector."

# What pandas makes of an index that has no name.
_INDEX = re.compile(r"__index_level_\d+__").fullmatch


class ArrowStream(Protocol):
    """A table, record batch or reader of pyarrow; a frame of Polars, pandas from 2.2 on or DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def is_arrow(value: object) -> bool:
    return hasattr(value, "__arrow_c_stream__")


class PointTable:
    """Points in the columns `id`, `vector` (or `vector.<name>` for named ones), `payload` and `version`, as `names` has
    it; all others become payload keys.

    batches: record batches with these columns.   first: the number of the first row, for ids that are counted.
    Raises InvalidRequest for columns that are missing or of a wrong type.
    """

    def __init__(self, schema: Any, batches: Iterable[Any], names: ColumnNames, first: int = 0) -> None:
        self._batches = batches
        self._names = names
        self._first = first
        self._dimensions = VectorJson()
        self._vectors = _vector_columns(schema.names, names)
        self._fields = _payload_columns(schema.names, names, self._vectors)
        self._versions = "version" in schema.names
        self._check(schema)

    @classmethod
    def of(cls, source: Any, names: ColumnNames | None = None) -> PointTable:
        """Of what `is_arrow`. Raises InvalidRequest as well for what has no columns."""
        pa = pyarrow()
        try:
            reader = pa.RecordBatchReader.from_stream(source)
        except pa.ArrowInvalid as error:
            raise InvalidRequest(f"points: expected a table with the columns id and vector: {error}") from None
        return cls(reader.schema, reader, names or ColumnNames())

    def wire(self) -> Iterator[Any]:
        """Record batches of at most 1000 points. Raises InvalidPoint with the row, from 0, and its column."""
        row = 0
        for batch in self._batches:
            # However large the batches of the source are, what is made of them is small.
            for start in range(0, batch.num_rows, ROWS):
                part = batch.slice(start, ROWS)
                yield self._wire(part, row)
                row += part.num_rows

    def _wire(self, batch: Any, first: int) -> Any:
        columns = {"id": self._ids(batch, first)}
        for name, column in self._vectors.items():
            columns[name] = wire_vectors(
                batch.column(column),
                column,
                first,
                optional=name != "vector",
                expect=partial(self._dimensions.expect, name=name),
            )
        if self._fields:
            columns["payload"] = self._payloads(batch, first)
        if self._versions:
            columns["version"] = wire_versions(batch.column("version"), first)
        return pyarrow().record_batch(columns)

    def _ids(self, batch: Any, first: int) -> Any:
        names = self._names
        if names.key:
            columns = {name: payloads.values(batch.column(name), whole=False) for name in names.key}
            found: list[Any] = []
            for row in range(batch.num_rows):
                try:
                    found.append(names.point_id(row, {name: column[row] for name, column in columns.items()}))
                except ValueError as error:
                    raise InvalidPoint(first + row, None, str(error)) from None
            return ids_of(found, first)
        if names.start is not None:
            start = names.start + self._first + first
            if start + batch.num_rows - 1 > MAX_ID:
                raise InvalidPoint(first, "id", f"numbered from {names.start}, it is beyond 2**64 - 1")
            return pyarrow().array(np.arange(start, start + batch.num_rows, dtype=np.uint64))
        return wire_ids(batch.column(names.id), names.id, first)

    def _payloads(self, batch: Any, first: int) -> Any:
        columns = {name: batch.column(name) for name in self._fields}
        whole = columns.get("payload") if self._names.payload is None else None
        if whole is not None:
            whole = columns["payload"] = getattr(whole, "storage", whole)
            if len(columns) == 1 and payloads.is_text(whole.type):
                return payloads.texts(whole, first)
        cells_of = [payloads.values(column, whole=column is whole) for column in columns.values()]
        found: list[Any] = []
        for row, cells in enumerate(zip(*cells_of, strict=True)):
            fields = {name: cell for name, cell in zip(self._fields, cells, strict=True) if cell is not None}
            try:
                found.append(self._names.payload_of(fields))
            except ValueError as error:
                raise InvalidPoint(first + row, None, str(error)) from None
        return payloads.objects(found, first)

    def _check(self, schema: Any) -> None:
        names = self._names
        wanted = [*self._vectors.values(), *names.key, *(names.payload or ())]
        if not names.key and names.start is None:
            wanted.append(names.id)
        for name in wanted:
            if schema.names.count(name) != 1:
                problem = "several columns" if name in schema.names else "no column"
                raise InvalidRequest(f"{problem} {name!r}; there are {', '.join(schema.names)}")
        if names.id in wanted:
            expect_ids(names.id, schema.field(names.id).type)
        for name in self._vectors.values():
            expect_vectors(name, schema.field(name).type)
        if "payload" in self._fields and names.payload is None:
            payloads.expect_objects("payload", schema.field("payload").type)
        for name in {*self._fields, *names.key}:
            payloads.expect_json(name, schema.field(name).type)
        if self._versions:
            expect_versions("version", schema.field("version").type)


def _vector_columns(there: list[str], names: ColumnNames) -> dict[str, str]:
    """Columns by their names on the wire."""
    named = {name: name for name in there if name.startswith(NAMED)}
    return named if named and names.vector == "vector" and "vector" not in there else {"vector": names.vector}


def _payload_columns(there: list[str], names: ColumnNames, vectors: dict[str, str]) -> list[str]:
    if names.payload is not None:
        return [name for name in names.payload if name != "version"]
    taken = {*vectors.values(), "version"}
    if not names.key and names.start is None:
        taken.add(names.id)
    return [name for name in there if name not in taken and not _INDEX(name)]
