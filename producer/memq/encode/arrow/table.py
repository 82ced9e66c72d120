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
from memq.encode.arrow.vector_kinds import is_sparse
from memq.encode.arrow.vectors import expect_vectors, wire_vectors
from memq.encode.arrow.versions import expect_versions, wire_versions
from memq.encode.column_names import ColumnError, ColumnNames
from memq.encode.vectors import VectorJson
from memq.errors import InvalidPoint, InvalidRequest
from memq_schemas.ids import MAX_ID
from memq_schemas.json_values.arrow import Rules

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
    """Points in the columns `id`, `vector` (or `vector.<name>` for named ones, or a struct of them), `payload` and
    `version`, as `names` has it; all others become payload keys.

    batches: record batches with these columns.   first: the number of the first row, for ids that are counted.
    Raises InvalidRequest for columns that are missing or of a wrong type.
    """

    def __init__(self, schema: Any, batches: Iterable[Any], names: ColumnNames, first: int = 0) -> None:
        self._batches = batches
        self._names = names
        self._first = first
        self._dimensions = VectorJson()
        self._vectors = _vector_columns(schema, names)
        self._fields = _payload_columns(schema.names, names, self._vectors)
        self._versions = names.version if names.version in schema.names else None
        self._rules = Rules(decimals_as_text=names.decimals == "text")
        self._check(schema)

    @classmethod
    def of(cls, source: Any, names: ColumnNames | None = None) -> PointTable:
        """Read a value for which `is_arrow` is true. Raises InvalidRequest, also for a value without columns."""
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
        for name, (column, part) in self._vectors.items():
            columns[name] = wire_vectors(
                _part(batch.column(column), part),
                column if part is None else f"{column}.{part}",
                first,
                optional=name != "vector",
                expect=partial(self._dimensions.expect, name=name),
            )
        if self._fields:
            columns["payload"] = self._payloads(batch, first)
        if self._versions:
            columns["version"] = wire_versions(batch.column(self._versions), first)
        return pyarrow().record_batch(columns)

    def _ids(self, batch: Any, first: int) -> Any:
        names = self._names
        if names.key:
            rules = Rules(key=True)
            columns = {name: payloads.values(batch.column(name), name, first, rules=rules) for name in names.key}
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
        cells_of = [
            payloads.values(column, name, first, whole=column is whole, rules=self._rules)
            for name, column in columns.items()
        ]
        found: list[Any] = []
        for row, cells in enumerate(zip(*cells_of, strict=True)):
            fields = {name: cell for name, cell in zip(self._fields, cells, strict=True) if cell is not None}
            try:
                found.append(self._names.payload_of(fields))
            except ValueError as error:
                raise InvalidPoint(first + row, None, str(error)) from None
        return payloads.objects(found, first, exact=True)

    def _check(self, schema: Any) -> None:
        names = self._names
        vectors = {column for column, _ in self._vectors.values()}
        wanted = [*vectors, *names.key, *(names.payload or ())]
        if not names.key and names.start is None:
            wanted.append(names.id)
        for name in (*wanted, *self._fields, *filter(None, [self._versions])):
            count = schema.names.count(name)
            if not count:
                raise ColumnError(name, f"no column {name!r}; there are {', '.join(schema.names) or 'none'}")
            if count > 1:
                raise ColumnError(name, f"{count} columns are called {name!r}; rename all but one")
        if names.id in wanted:
            expect_ids(names.id, schema.field(names.id).type)
        for column, part in self._vectors.values():
            kind = schema.field(column).type
            expect_vectors(column, kind if part is None else kind.field(part).type)
        if "payload" in self._fields and names.payload is None:
            payloads.expect_objects("payload", schema.field("payload").type)
        for name in {*self._fields, *names.key} - ({"payload"} if names.payload is None else set()):
            payloads.expect_json(name, schema.field(name).type)
        if self._versions:
            expect_versions(self._versions, schema.field(self._versions).type)


def _vector_columns(schema: Any, names: ColumnNames) -> dict[str, tuple[str, str | None]]:
    """Columns by their names on the wire, with the field of a struct that has a vector in each."""
    there: list[str] = schema.names
    named = [name for name in there if name.startswith(NAMED)]
    if named and names.vector == "vector" and "vector" not in there:
        return {name: (name, None) for name in named}
    if there.count(names.vector) == 1:
        kind = schema.field(names.vector).type
        if pyarrow(".types").is_struct(kind) and kind.num_fields and not is_sparse(kind):
            parts = [kind.field(index).name for index in range(kind.num_fields)]
            return {f"{NAMED}{part}": (names.vector, part) for part in parts}
    return {"vector": (names.vector, None)}


def _part(column: Any, name: str | None) -> Any:
    if name is None:
        return column
    # Unlike `field`, this is null where the struct is.
    return dict(zip((field.name for field in column.type), column.flatten(), strict=True))[name]


def _payload_columns(there: list[str], names: ColumnNames, vectors: dict[str, tuple[str, str | None]]) -> list[str]:
    if names.payload is not None:
        return [name for name in names.payload if name != names.version]
    used_columns: set[str | None] = {*(column for column, _ in vectors.values()), names.version}
    if not names.key and names.start is None:
        used_columns.add(names.id)
    return [name for name in there if name not in used_columns and not _INDEX(name)]
