from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from memq.encode import arrow
from memq.encode.arrow.messages import ROWS
from memq.encode.columns import Columns
from memq_cli.sources.bad_file import BadFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memq.encode.column_names import ColumnNames, Row
    from memq_cli.sources.jsonl import JsonLines


class NumpyMatrix:
    """A two-dimensional .npy file, memory-mapped, one vector a row; payloads and ids from JSON Lines beside it."""

    def __init__(self, path: Path, payloads: JsonLines | None, columns: ColumnNames) -> None:
        """Raises BadFile."""
        self.name = str(path)
        try:
            self._matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # noqa: BLE001 (a damaged header ends in errors of Python's parser)
            raise BadFile(f"{self.name}: not a .npy file of numbers: {error}") from None
        if self._matrix.ndim != 2 or self._matrix.dtype.kind not in "fiu":
            description = f"{self._matrix.dtype} of shape {self._matrix.shape}"
            raise BadFile(f"{self.name}: expected a matrix of numbers, one vector a row; this is {description}")
        if payloads is None and columns.start is None:
            # A matrix alone has nothing to take ids from.
            columns = replace(columns, start=0)
        self._payloads = payloads
        self._columns = columns

    @property
    def total(self) -> int | None:
        return len(self._matrix)

    def place(self, index: int) -> str:
        return f"{self.name}, row {index} (from 0)"

    def points(self, start: int = 0) -> Iterator[Row] | arrow.WirePoints:
        """Raises BadFile."""
        rows = self._rows(start)
        return arrow.WirePoints(self._batches(rows)) if arrow.installed() else rows

    def _rows(self, start: int) -> Iterator[Row]:
        beside = self._payloads.objects(start) if self._payloads else None
        for index in range(start, len(self._matrix)):
            fields: dict[str, Any] | None = {} if beside is None else next(beside, None)
            if fields is None:
                raise BadFile(f"{self._at(index)}: the payloads end here, the matrix has {len(self._matrix)} rows")
            try:
                yield self._columns.row(index, fields, self._matrix[index])
            except ValueError as error:
                raise BadFile(f"{self._at(index)}: {error}") from None
        if beside is not None and next(beside, None) is not None:
            raise BadFile(f"{self.name}: there are more payloads than the {len(self._matrix)} rows of the matrix")

    def _batches(self, rows: Iterator[Row]) -> Iterator[Any]:
        first = 0
        while chunk := list(itertools.islice(rows, ROWS)):
            # A column holds ids of one kind.
            for _, alike in itertools.groupby(chunk, lambda row: isinstance(row[0], (str, UUID))):
                ids, vectors, payloads, versions = zip(*alike, strict=True)
                columns = Columns(ids, np.stack(vectors), _unless_empty(payloads), _unless_empty(versions))
                yield from arrow.from_columns(columns, first)
                first += len(ids)

    def _at(self, index: int) -> str:
        beside = f" ({self._payloads.place()})" if self._payloads else ""
        return f"{self.place(index)}{beside}"


def _unless_empty(column: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return None if all(value is None for value in column) else column
