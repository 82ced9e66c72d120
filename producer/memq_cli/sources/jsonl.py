from __future__ import annotations

import itertools
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.decompression import UNREADABLE
from memq_cli.sources.row import row_of
from memq_schemas.json_values import TOO_DEEP, InexactValue, exact_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

    from memq.encode.column_names import ColumnNames, Row

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class JsonLines:
    """One JSON object a line; blank lines are skipped."""

    def __init__(self, name: str, opening: Callable[[], BinaryIO], size: int | None, columns: ColumnNames) -> None:
        self.name = name
        self._opening = opening
        self._size = size
        self._columns = columns
        self._begin()

    def place(self, index: int | None = None) -> str:
        """The last row that was read, which is the one that is asked for."""
        return f"{self.name}, line {self._line}"

    @property
    def total(self) -> int | None:
        """Estimated from the bytes read so far."""
        if self._size is None or not self._read:
            return None
        return max(self._index, round(self._index * self._size / self._read))

    def objects(self, start: int = 0) -> Generator[dict[str, Any]]:
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
        # Closed here: an error keeps the generator, and with it the open file, until the garbage collector comes.
        with closing(self.objects(start)) as objects:
            yield from map(self._row, objects)

    async def points_of(self, lines: AsyncIterator[bytes]) -> AsyncIterator[Row]:
        """The same from lines as they come. Raises BadFile."""
        async for line in lines:
            for filled in self._filled([line]):
                yield self._row(self._object(filled))
                self._index += 1

    def _begin(self) -> None:
        self._line = self._index = self._read = 0

    def _filled(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for line in lines:
                self._line += 1
                self._read += len(line)
                if self._line == 1:
                    line = self._first(line)  # noqa: PLW2901
                if line and not line.isspace():
                    yield line
        except UNREADABLE as error:
            raise BadFile(f"{self.place()}: unreadable from here on: {error}") from None

    def _first(self, line: bytes) -> bytes:
        if line.startswith(_UTF_16):
            raise BadFile(f"{self.place()}: UTF-16; save the file as UTF-8")
        return line.removeprefix(BYTE_ORDER_MARK)

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            value = exact_json(line, self._columns.vector)
        except ValueError as error:
            raise BadFile(f"{self.place()}: {_not_json(line, error)}") from None
        if not isinstance(value, dict):
            raise BadFile(f'{self.place()}: expected a JSON object like {{"id": 1, "vector": [0.1, 0.2]}}')
        return cast("dict[str, Any]", value)

    def _row(self, fields: dict[str, Any]) -> Row:
        name = self._columns.vector
        try:
            if name in fields:
                return self._columns.row(self._index, fields, fields.pop(name))
            return row_of(self._index, fields, self._columns)
        except ValueError as error:
            raise BadFile(f"{self.place()}: {error}") from None


def _not_json(line: bytes, error: ValueError) -> str:
    try:
        json.loads(line, parse_constant=_no_number)
    except UnicodeDecodeError:
        return "not UTF-8; save the file as UTF-8"
    except json.JSONDecodeError:
        if line.rstrip().endswith(b","):
            return "a comma behind the object; expected one JSON object per line"
    except RecursionError:
        return TOO_DEEP
    except ValueError as known:
        return str(known)
    if "depth limit" in str(error):  # of orjson; the parser of Python 3.13 reads the line
        return TOO_DEEP
    return f"{error}" if isinstance(error, InexactValue) else f"not JSON: {error}; expected one JSON object per line"


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON; write null")
