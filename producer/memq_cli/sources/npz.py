from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.row import expect_columns, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memq.encode.column_names import ColumnNames, Row

# Plural names, as numpy.savez is mostly called.
_PLURAL = {"ids": "id", "vectors": "vector", "embeddings": "vector", "payloads": "payload", "versions": "version"}


class NumpyArchive:
    """Arrays of a .npz file side by side, one row a point: `vector`, `id`, `version`; others are payload keys."""

    def __init__(self, path: Path, columns: ColumnNames) -> None:
        """Raises BadFile."""
        self.name = str(path)
        self._columns = columns
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
        except Exception as error:  # noqa: BLE001 (a damaged header ends in errors of Python's parser, zipfile or zlib)
            raise BadFile(f"{self.name}: not a .npz file of plain arrays: {error}") from None
        wanted = {columns.id, columns.vector, columns.version, *columns.key, *(columns.payload or ())}
        self._arrays: dict[str, Any] = {}
        for name, array in arrays.items():
            single: str = _PLURAL.get(name, name)
            used = single if single in wanted and name not in wanted and single not in arrays else name
            if used in self._arrays:
                raise BadFile(f"{self.name}: {name} and another array are both the column {used!r}; rename one")
            self._arrays[used] = array
        self._check()

    @property
    def total(self) -> int | None:
        return len(next(iter(self._arrays.values()), ()))

    def place(self, index: int) -> str:
        return f"{self.name}, row {index} (from 0)"

    def points(self, start: int = 0) -> Iterator[Row]:
        """Raises BadFile."""
        for index in range(start, self.total or 0):
            try:
                fields = {name: array[index] for name, array in self._arrays.items()}
                yield row_of(index, fields, self._columns)
            except ValueError as error:
                raise BadFile(f"{self.place(index)}: {error}") from None

    def _check(self) -> None:
        expect_columns(self.name, self._arrays, self._columns)
        lengths = {name: len(array) if array.ndim else -1 for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1 or -1 in lengths.values():
            description = ", ".join(f"{name} {self._arrays[name].shape}" for name in lengths)
            raise BadFile(f"{self.name}: arrays of different lengths: {description}; expected one row a point in each")
