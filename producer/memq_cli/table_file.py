"""Points as an Arrow or Parquet file, a page at a time."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import pybase64
import typer

from memq.encode.arrow.library import pyarrow
from memq.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from memq_schemas import CollectionDescription, OrderedRecord

_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream
_ANOTHER = "use a .jsonl file"


class TableFile:
    """Columns id, vector or vector.<name> (`vector.` is an unnamed one beside others), payload (JSON text) and version.

    Dense vectors are fixed-size lists of float32, multivectors lists of them, sparse vectors structs of indices and
    values. Ids are uint64, or text where they are UUIDs. The unfinished file is an Arrow stream.
    """

    def __init__(self, suffix: str, description: CollectionDescription, *, with_vector: bool) -> None:
        """Raises typer.BadParameter without pyarrow."""
        try:
            self._arrow: Any = pyarrow()
        except InvalidRequest as error:
            raise typer.BadParameter(str(error), param_hint="FILE") from None
        self._suffix = suffix
        self._columns: dict[str, tuple[Any, Callable[[list[Any]], Any]]] = {}
        if with_vector:
            self._add_vectors(description)
        self._schema: Any = None

    def _add_vectors(self, description: CollectionDescription) -> None:
        pa = self._arrow
        for name, params in description.vectors.items():
            kind = pa.list_(pa.float32(), params.size)
            size = params.size
            if params.multivector_config is None:
                self._columns[name] = (kind, lambda values, size=size: _dense(values, size))
            else:
                self._columns[name] = (pa.list_(kind), lambda values, size=size: _multi(values, size))
        sparse = pa.struct({"indices": pa.list_(pa.uint32()), "values": pa.list_(pa.float32())})
        for name in description.sparse_vectors:
            self._columns[name] = (sparse, _sparse)

    def resume(self, part: Path) -> None:
        if part.stat().st_size:
            with self._arrow.OSFile(os.fsencode(part)) as source:
                self._schema = self._arrow.ipc.open_stream(source).schema

    def rows(self, points: Sequence[OrderedRecord]) -> bytes:
        """Raises typer.BadParameter for ids of both types, and for a vector that the description does not have."""
        pa = self._arrow
        schema, started = self._schema, self._schema is not None
        schema = schema or self._schema_of(points)
        arrays = [_ids(points, schema.field("id").type)]
        named = [_by_name(each.vector, self._columns) for each in points]
        arrays += [make([row.get(name) for row in named]) for name, (_, make) in self._columns.items()]
        arrays.append(pa.array([None if each.payload is None else orjson.dumps(each.payload) for each in points]))
        arrays[-1] = arrays[-1].cast(pa.string())
        arrays.append(pa.array([each.version for each in points], pa.uint64()))
        batch = pa.record_batch(arrays, schema=schema)
        self._schema = schema
        return (b"" if started else schema.serialize().to_pybytes()) + batch.serialize().to_pybytes()

    def _schema_of(self, points: Sequence[OrderedRecord]) -> Any:
        pa = self._arrow
        # Beside others the unnamed vector is one of them: a column `vector` would be the only one.
        alone = list(self._columns) == [""]
        columns = {"vector" if alone else f"vector.{name}": kind for name, (kind, _) in self._columns.items()}
        kind = pa.uint64() if points and isinstance(points[0].id, int) else pa.string()
        return pa.schema({"id": kind, **columns, "payload": pa.string(), "version": pa.uint64()})

    def finish(self, part: Path, path: Path) -> None:
        pa = self._arrow
        with part.open("ab") as file:
            if not file.tell():
                file.write(self._schema_of([]).serialize().to_pybytes())
            file.write(_END)
        new = path.with_name(f"{path.name}.new")
        with pa.OSFile(os.fsencode(part)) as source, new.open("wb") as target:
            stream = pa.ipc.open_stream(source)
            parquet = self._suffix == ".parquet"
            writer = (
                importlib.import_module("pyarrow.parquet").ParquetWriter(target, stream.schema, store_schema=False)
                if parquet
                else pa.ipc.new_file(target, stream.schema)
            )
            with writer:
                for batch in stream:
                    writer.write_batch(batch)
        new.replace(path)
        part.unlink()


def _ids(points: Sequence[OrderedRecord], kind: Any) -> Any:
    pa = pyarrow()
    values = [each.id for each in points]
    wanted = int if kind == pa.uint64() else str
    if {type(each) for each in values} - {wanted}:
        raise typer.BadParameter(f"points have integers and UUIDs as ids: {_ANOTHER}", param_hint="FILE")
    return pa.array(values, kind)


def _by_name(vector: Any, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the vectors of a point by name; the unnamed one is ""."""
    named = cast("dict[str, Any]", vector if isinstance(vector, dict) else {} if vector is None else {"": vector})
    unknown = next((name for name in named if name not in columns), None)
    if unknown is not None:
        raise typer.BadParameter(f"the collection has no vector {unknown!r} any more: start over with --restart")
    return named


def _dense(values: list[Any], size: int) -> Any:
    pa = pyarrow()
    empty = np.zeros(size, "<f4")
    flat = np.concatenate([empty if each is None else _numbers(each, "<f4") for each in values])
    missing = [each is None for each in values]
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat, pa.float32()), size, mask=pa.array(missing) if any(missing) else None
    )


def _multi(values: list[Any], size: int) -> Any:
    pa = pyarrow()
    rows = [row for each in values if each is not None for row in each]
    inner = _dense(rows, size) if rows else pa.array([], pa.list_(pa.float32(), size))
    return pa.ListArray.from_arrays(_offsets(values, len), inner)


def _sparse(values: list[Any]) -> Any:
    pa = pyarrow()
    present = [each for each in values if each is not None]
    columns = {
        "indices": ("<u4", pa.uint32(), [_numbers(each.indices, "<u4") for each in present]),
        "values": ("<f4", pa.float32(), [_numbers(each.values, "<f4") for each in present]),
    }
    missing = [each is None for each in values]
    arrays: list[Any] = []
    for dtype, kind, found in columns.values():
        rest = iter(found)
        lists = [None if is_missing else next(rest) for is_missing in missing]
        flat = np.concatenate([each for each in lists if each is not None]) if present else np.zeros(0, dtype)
        arrays.append(pa.ListArray.from_arrays(_offsets(lists, len), pa.array(flat, kind)))
    return pa.StructArray.from_arrays(arrays, list(columns), mask=pa.array(missing))


def _offsets(values: list[Any], length: Callable[[Any], int]) -> Any:
    """Offsets of a list array; null for a value that is None."""
    pa = pyarrow()
    ends = np.cumsum([0, *(0 if each is None else length(each) for each in values)])
    return pa.array(ends, pa.int32(), mask=np.array([*(each is None for each in values), False]))


def _numbers(text: str, dtype: str) -> Any:
    return np.frombuffer(pybase64.b64decode(text, validate=True), dtype)
