"""A JSON array of objects, or objects one after the other over any number of lines."""

from __future__ import annotations

import codecs
import itertools
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.decompression import UNREADABLE
from memq_cli.sources.row import row_of
from memq_schemas.json_values import TOO_DEEP
from memq_schemas.json_values.text import unique_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from memq.encode.column_names import ColumnNames, Row

_PIECE_BYTES = 1024 * 1024
_SPACE = " \t\r\n"


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; write null")


class JsonDocuments:
    """Objects of an array, or of a text that is nothing but objects; read piece by piece."""

    total = None

    def __init__(self, name: str, opening: Callable[[], BinaryIO], columns: ColumnNames) -> None:
        self.name = name
        self._opening = opening
        self._columns = columns
        self._index = self._line = 0

    def place(self, index: int | None = None) -> str:
        """The last row that was read, which is the one that is asked for."""
        return f"{self.name}, object {self._index + 1} at line {self._line}"

    def points(self, start: int = 0) -> Iterator[Row]:
        """Raises BadFile."""
        # Closed here: an error keeps the generator, and with it the open file, until the garbage collector comes.
        with closing(self.objects(start)) as objects:
            for fields in objects:
                try:
                    yield row_of(self._index, fields, self._columns)
                except ValueError as error:
                    raise BadFile(f"{self.place()}: {error}") from None

    def objects(self, start: int = 0) -> Generator[dict[str, Any]]:
        """Raises BadFile."""
        self._index = -1
        with closing(self._values()) as values:
            for value in itertools.islice(values, start, None):
                if not isinstance(value, dict):
                    raise BadFile(f"{self.place()}: expected a JSON object")
                yield cast("dict[str, Any]", value)

    def _values(self) -> Generator[Any]:
        with self._opening() as stream:
            text = _Text(stream)
            try:
                yield from self._array(text) if text.peek() == "[" else self._objects(text)
            except UnicodeDecodeError:
                raise BadFile(f"{self.name}, line {text.line}: not UTF-8; save the file as UTF-8") from None
            except UNREADABLE as error:
                raise BadFile(f"{self.place()}: unreadable from here on: {error}") from None
            except BadFile:
                raise
            except RecursionError:
                raise BadFile(f"{self.place()}: {TOO_DEEP}") from None
            except ValueError as error:
                raise BadFile(f"{self.name}, line {text.line}: not JSON: {error}") from None

    def _objects(self, text: _Text) -> Iterator[Any]:
        while text.peek():
            yield self._next(text)

    def _array(self, text: _Text) -> Iterator[Any]:
        text.skip()
        separator = text.peek()
        while separator != "]":
            yield self._next(text)
            separator = text.peek()
            if separator not in (",", "]"):
                raise ValueError("expected a comma or the end of the array" if separator else "the array has no end")
            if separator == ",":
                text.skip()
        text.skip()
        if text.peek():
            raise ValueError("text after the end of the array")

    def _next(self, text: _Text) -> Any:
        text.peek()
        self._index += 1
        self._line = text.line
        return text.value()


class _Text:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=_no_number).raw_decode
        self._text = ""
        self._at = 0
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in _SPACE:
                    return character
                self.skip()
            if self._ended:
                return ""
            self._more(1)

    def skip(self) -> None:
        """Leave the next character behind."""
        if self._text[self._at] == "\n":
            self.line += 1
        self._at += 1

    def value(self) -> Any:
        """The value that begins here. Raises ValueError."""
        pieces = 1
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended:
                    self.line += self._text.count("\n", self._at, error.pos)
                    raise ValueError(error.msg) from None
                # So that a large object is not scanned again for each piece of it.
                self._more(pieces)
                pieces *= 2
            else:
                self.line += self._text.count("\n", self._at, end)
                self._at = end
                return value

    def _more(self, pieces: int) -> None:
        data = self._stream.read(pieces * _PIECE_BYTES)
        self._ended = not data
        self._text = self._text[self._at :] + self._decode(data, final=self._ended)
        self._at = 0
