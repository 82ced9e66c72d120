"""CSV and TSV with a header."""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.decompression import UNREADABLE
from memq_cli.sources.row import expect_columns, row_of
from memq_schemas.json_values import exact_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from memq.encode.column_names import ColumnNames, Row

INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)").fullmatch
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_BETWEEN = re.compile(r"[,;\s]+")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NESTED = "{["


class DelimitedText:
    """One point a line, cells as text: a table of text has no types.

    types: infer integers, numbers and booleans for columns whose cells are all such; this reads the file twice.
    """

    total = None

    def __init__(
        self, name: str, opening: Callable[[], BinaryIO], tabs: bool, columns: ColumnNames, *, types: bool
    ) -> None:
        """Raises BadFile."""
        self.name = name
        self._opening = opening
        self._tabs = tabs
        self._columns = columns
        self._line = 1
        self._index = 0
        self._types = self._inferred() if types else {}

    def place(self, index: int | None = None) -> str:
        """The last row that was read, which is the one that is asked for."""
        return f"{self.name}, line {max(1, self._line)}"

    def points(self, start: int = 0) -> Iterator[Row]:
        """Raises BadFile."""
        # Closed here: an error keeps the generator, and with it the open file, until the garbage collector comes.
        with closing(self._rows()) as rows:
            for index, cells in enumerate(itertools.islice(rows, start, None), start):
                try:
                    yield row_of(index, self._fields(cells), self._columns)
                except ValueError as error:
                    raise BadFile(f"{self.place()}: {error}") from None

    def _rows(self) -> Generator[dict[str, str]]:
        """The cells that are not empty, by column. Raises BadFile."""
        csv.field_size_limit(sys.maxsize)
        self._line = 0
        with self._opening() as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
            try:
                yield from self._read(text)
            except UnicodeDecodeError:
                raise BadFile(f"{self.place()} or after it: not UTF-8; save the file as UTF-8") from None
            except csv.Error as error:
                raise BadFile(f"{self.name}, line {self._line + 1} or after it: {error}") from None
            except UNREADABLE as error:
                raise BadFile(f"{self.place()}: unreadable from here on: {error}") from None

    def _read(self, text: io.TextIOWrapper) -> Iterator[dict[str, str]]:
        first = text.readline()
        delimiter = "\t" if self._tabs else next((each for each in ",;\t" if each in first), ",")
        reader = csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
        header = next(reader, list[str]())
        self._line = reader.line_num
        for name in header:
            if header.count(name) > 1:
                raise BadFile(f"{self.name}: {header.count(name)} columns are called {name!r}; rename all but one")
        if header:
            expect_columns(self.name, header, self._columns)
        for cells in reader:
            self._line = reader.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                raise BadFile(f"{self.place()}: {len(cells)} cells, the header has {len(header)}")
            yield {name: cell for name, cell in zip(header, cells, strict=True) if cell}

    def _fields(self, cells: dict[str, str]) -> dict[str, Any]:
        """Raises ValueError naming the column."""
        columns = self._columns
        fields: dict[str, Any] = {}
        for name, cell in cells.items():
            if name == columns.vector or name.startswith(f"{columns.vector}."):
                fields[name] = _vector(name, cell)
            elif name in (columns.id, columns.version):
                fields[name] = int(cell) if INTEGER(cell) else cell
            elif name == "payload" and columns.payload is None:
                fields[name] = _payload(cell)
            else:
                fields[name] = self._types[name](cell) if name in self._types else cell
        return fields

    def _inferred(self) -> dict[str, Callable[[str], Any]]:
        columns = self._columns
        kinds: dict[str, list[Callable[[str], Any]]] = {}
        for cells in self._rows():
            for name, cell in cells.items():
                left = kinds.setdefault(name, [_integer, _number, _boolean])
                if left:
                    kinds[name] = [kind for kind in left if kind(cell) is not None]
        fixed = {columns.id, columns.version, columns.vector, "payload" if columns.payload is None else None}
        return {name: left[0] for name, left in kinds.items() if left and name not in fixed}


def _integer(cell: str) -> int | None:
    return int(cell) if INTEGER(cell) and -(2**63) <= int(cell) < 2**63 and cell != "-0" else None


def _number(cell: str) -> float | None:
    if not _NUMBER(cell):
        return None
    number = float(cell)
    exact = number - number == 0 and Decimal(repr(number)) == Decimal(cell)
    return number if exact else None


def _boolean(cell: str) -> bool | None:
    return _BOOLEANS.get(cell)


def _payload(cell: str) -> Any:
    try:
        return exact_json(cell.encode())
    except ValueError as error:
        raise ValueError(f"payload: {error}") from None


def _vector(name: str, cell: str) -> Any:
    """A JSON array or object, base64, or numbers between commas or spaces, in brackets or without."""
    if cell[0] in _NESTED:
        try:
            return orjson.loads(cell)
        except ValueError:
            cell = cell[1:-1]
    parts = [part for part in _BETWEEN.split(cell.strip()) if part]
    if len(parts) < 2 and not _NUMBER(cell.strip()):
        return cell
    try:
        return list(map(float, parts))
    except ValueError:
        raise ValueError(f"{name}: expected numbers like [0.1, 0.2], or base64 of float32") from None
