from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memq_cli.sources.arrow import ipc, parquet
from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.jsonl import JsonLines
from memq_cli.sources.npy import NumpyMatrix
from memq_cli.sources.stdin import StandardInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from memq.encode.arrow import WirePoints
    from memq.encode.column_names import ColumnNames, Row


class Source(Protocol):
    name: str

    @property
    def total(self) -> int | None:
        """How many points there are, as far as known by now."""
        ...

    def place(self, index: int) -> str:
        """Where this row stands, for people; of files that have to be read for it, the last row that was given out."""
        ...

    def points(self, start: int = 0) -> Iterator[Row] | AsyncIterator[Row] | WirePoints:
        """What `Producer.upsert` takes, from this row on. Raises BadFile, also on the way."""
        ...


JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc", ".arrows")
KINDS = f"{', '.join((*JSON_LINES, *PARQUET, *ARROW, '.npy'))}, or - for JSON Lines from standard input"


def open_source(name: str, columns: ColumnNames, payloads: Path | None = None) -> Source:
    """The file by its ending. Raises BadFile."""
    if name == "-":
        return StandardInput(columns)
    path = Path(name)
    if not path.is_file():
        raise BadFile(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
    ending = path.suffix.lower()
    if payloads is not None and ending != ".npy":
        raise BadFile(f"{path}: --payloads belongs to .npy files; here the payload is in the file itself")
    try:
        return _by_ending(path, ending, columns, payloads)
    except OSError as error:
        raise BadFile(f"{error.filename or path}: {error.strerror or error}") from None


def _by_ending(path: Path, ending: str, columns: ColumnNames, payloads: Path | None) -> Source:
    if ending in JSON_LINES:
        return _json_lines(path, columns)
    if ending in PARQUET:
        return parquet(path, columns)
    if ending in ARROW:
        return ipc(path, columns)
    if ending == ".npy":
        return NumpyMatrix(path, None if payloads is None else _json_lines(payloads, columns), columns)
    raise BadFile(f"{path}: cannot tell what this is by its ending; known are {KINDS}")


def _json_lines(path: Path, columns: ColumnNames) -> JsonLines:
    return JsonLines(str(path), partial(path.open, "rb"), path.stat().st_size, columns)
