"""Points as an Arrow or Parquet file, a page at a time."""

from __future__ import annotations

import importlib
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import typer

from memq_schemas.vectors import to_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memq_schemas import OrderedRecord


class TableFile:
    """Columns id (text), vector or vector.<name> (lists of float32), payload (JSON text) and version.

    The first page decides which vectors there are. Raises typer.BadParameter for sparse vectors and multivectors, and
    for points with other vectors than those of the first page.
    """

    def __init__(self, file: IO[bytes], suffix: str) -> None:
        self._file = file
        self._suffix = suffix
        self._arrow: Any = importlib.import_module("pyarrow")
        self._writer: Any = None
        self._sizes: dict[str, int] | None = None

    def write(self, points: Sequence[OrderedRecord]) -> None:
        if not points:
            return
        arrow = self._arrow
        columns: dict[str, Any] = {"id": arrow.array([str(each.id) for each in points])}
        columns |= self._vectors([_by_name(each.vector) for each in points])
        payloads = [None if each.payload is None else orjson.dumps(each.payload).decode() for each in points]
        columns["payload"] = arrow.array(payloads, arrow.string())
        columns["version"] = arrow.array([each.version for each in points], arrow.uint64())
        table = arrow.table(columns)
        if self._writer is None:
            self._writer = self._new_writer(table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _new_writer(self, schema: Any) -> Any:
        if self._suffix == ".parquet":
            return importlib.import_module("pyarrow.parquet").ParquetWriter(self._file, schema)
        return self._arrow.ipc.new_file(self._file, schema)

    def _vectors(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        if self._sizes is None:
            self._sizes = {name: len(row[name]) for row in reversed(rows) for name in row}
        if any(len(row[name]) != self._sizes.get(name) for row in rows for name in row):
            raise typer.BadParameter("points have different vectors: use a .jsonl file", param_hint="FILE")
        return {
            f"vector.{name}" if name else "vector": self._column([row.get(name) for row in rows], size)
            for name, size in self._sizes.items()
        }

    def _column(self, vectors: list[Any], size: int) -> Any:
        arrow = self._arrow
        empty = np.zeros(size, "<f4")
        flat = np.concatenate([empty if each is None else each for each in vectors])
        missing = arrow.array([each is None for each in vectors])
        return arrow.FixedSizeListArray.from_arrays(arrow.array(flat, arrow.float32()), size, mask=missing)


def _by_name(vector: Any) -> dict[str, Any]:
    named = cast("dict[str, Any]", vector if isinstance(vector, dict) else {} if vector is None else {"": vector})
    if not all(isinstance(each, str) for each in named.values()):
        raise typer.BadParameter("sparse vectors and multivectors need a .jsonl file", param_hint="FILE")
    return {name: to_array(each) for name, each in named.items()}
