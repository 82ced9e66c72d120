from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from memq.sources.columns import BadFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memq.sources.columns import ColumnNames, Row
    from memq.sources.jsonl import JsonLines


class NumpyMatrix:
    """A two-dimensional .npy file, memory-mapped, one vector a row; payloads and ids from JSON Lines beside it."""

    def __init__(self, path: Path, payloads: JsonLines | None, columns: ColumnNames) -> None:
        """Raises BadFile."""
        self.name = str(path)
        try:
            self._matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BadFile(f"{self.name}: not a .npy file of numbers: {error}") from None
        if self._matrix.ndim != 2 or self._matrix.dtype.kind not in "fiu":
            told = f"{self._matrix.dtype} of shape {self._matrix.shape}"
            raise BadFile(f"{self.name}: expected a matrix of numbers, one vector a row; this is {told}")
        if payloads is None and columns.start is None:
            # A matrix alone has nothing to take ids from.
            columns = replace(columns, start=0)
        self._payloads = payloads
        self._columns = columns
        self._index = 0

    @property
    def place(self) -> str:
        beside = f" ({self._payloads.place})" if self._payloads else ""
        return f"{self.name}, row {self._index} (from 0){beside}"

    @property
    def total(self) -> int | None:
        return len(self._matrix)

    def rows(self) -> Iterator[Row]:
        """Raises BadFile."""
        beside = self._payloads.objects() if self._payloads else None
        for index, vector in enumerate(self._matrix):
            self._index = index
            fields: dict[str, Any] | None = {} if beside is None else next(beside, None)
            if fields is None:
                raise BadFile(f"{self.place}: the payloads end here, the matrix has {len(self._matrix)} rows")
            try:
                yield self._columns.row(index, fields, vector)
            except ValueError as error:
                raise BadFile(f"{self.place}: {error}") from None
        if beside is not None and next(beside, None) is not None:
            raise BadFile(f"{self.place}: there are more payloads than the {len(self._matrix)} rows of the matrix")
