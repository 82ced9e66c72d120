from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from memq.sources.columns import BadFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from memq.sources.columns import ColumnNames, Row


class JsonLines:
    """One JSON object a line; blank lines are skipped."""

    def __init__(self, name: str, opening: Callable[[], BinaryIO], size: int | None, columns: ColumnNames) -> None:
        self.name = name
        self._opening = opening
        self._size = size
        self._columns = columns
        self._line = 0
        self._index = 0
        self._read = 0

    @property
    def place(self) -> str:
        return f"{self.name}, line {self._line}"

    @property
    def total(self) -> int | None:
        """Guessed from the bytes read so far."""
        if self._size is None or not self._read:
            return None
        return max(self._index, round(self._index * self._size / self._read))

    def objects(self) -> Iterator[dict[str, Any]]:
        """Raises BadFile."""
        with self._opening() as stream:
            for line in stream:
                value = self._object(line)
                if value is not None:
                    yield value
                    self._index += 1

    def rows(self) -> Iterator[Row]:
        """Raises BadFile."""
        return map(self._row, self.objects())

    async def rows_of(self, lines: AsyncIterator[bytes]) -> AsyncIterator[Row]:
        """The same for lines that come when they come. Raises BadFile."""
        async for line in lines:
            value = self._object(line)
            if value is not None:
                yield self._row(value)
                self._index += 1

    def _object(self, line: bytes) -> dict[str, Any] | None:
        self._line += 1
        self._read += len(line)
        if not line or line.isspace():
            return None
        try:
            value = orjson.loads(line)
        except ValueError as error:
            raise BadFile(f"{self.place}: not JSON: {error}; expected one JSON object per line") from None
        if not isinstance(value, dict):
            raise BadFile(f'{self.place}: expected a JSON object like {{"id": 1, "vector": [0.1, 0.2]}}')
        return cast("dict[str, Any]", value)

    def _row(self, fields: dict[str, Any]) -> Row:
        name = self._columns.vector
        if name not in fields:
            raise BadFile(f"{self.place}: {name}: missing; name another field with --vector-column")
        vector = fields.pop(name)
        try:
            return self._columns.row(self._index, fields, vector)
        except ValueError as error:
            raise BadFile(f"{self.place}: {error}") from None
