from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from memq_cli.sources.bad_file import BadFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from memq.encode.column_names import ColumnNames, Row


class JsonLines:
    """One JSON object a line; blank lines are skipped."""

    def __init__(self, name: str, opening: Callable[[], BinaryIO], size: int | None, columns: ColumnNames) -> None:
        self.name = name
        self._opening = opening
        self._size = size
        self._columns = columns
        self._begin()

    def place(self, index: int | None = None) -> str:
        """Of the last row that was given out, which is the one that is asked for."""
        return f"{self.name}, line {self._line}"

    @property
    def total(self) -> int | None:
        """Guessed from the bytes read so far."""
        if self._size is None or not self._read:
            return None
        return max(self._index, round(self._index * self._size / self._read))

    def objects(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Raises BadFile."""
        self._begin()
        with self._opening() as stream:
            lines = self._filled(stream)
            # Those before are not even parsed.
            for _ in itertools.islice(lines, start):
                self._index += 1
            for line in lines:
                yield self._object(line)
                self._index += 1

    def points(self, start: int = 0) -> Iterator[Row]:
        """Raises BadFile."""
        return map(self._row, self.objects(start))

    async def points_of(self, lines: AsyncIterator[bytes]) -> AsyncIterator[Row]:
        """The same from lines as they come. Raises BadFile."""
        async for line in lines:
            for filled in self._filled([line]):
                yield self._row(self._object(filled))
                self._index += 1

    def _begin(self) -> None:
        self._line = self._index = self._read = 0

    def _filled(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self._line += 1
            self._read += len(line)
            if line and not line.isspace():
                yield line

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            value = orjson.loads(line)
        except ValueError as error:
            raise BadFile(f"{self.place()}: not JSON: {error}; expected one JSON object per line") from None
        if not isinstance(value, dict):
            raise BadFile(f'{self.place()}: expected a JSON object like {{"id": 1, "vector": [0.1, 0.2]}}')
        return cast("dict[str, Any]", value)

    def _row(self, fields: dict[str, Any]) -> Row:
        name = self._columns.vector
        if name not in fields:
            raise BadFile(f"{self.place()}: {name}: missing; name another field with --vector-column")
        vector = fields.pop(name)
        try:
            return self._columns.row(self._index, fields, vector)
        except ValueError as error:
            raise BadFile(f"{self.place()}: {error}") from None
