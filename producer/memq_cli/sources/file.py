from __future__ import annotations

import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memq_cli.sources.arrow import ipc, parquet
from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.decompression import COMPRESSED, UNREADABLE, open_file
from memq_cli.sources.delimited_text import DelimitedText
from memq_cli.sources.json_documents import JsonDocuments
from memq_cli.sources.jsonl import BYTE_ORDER_MARK, JsonLines
from memq_cli.sources.npy import NumpyMatrix
from memq_cli.sources.npz import NumpyArchive
from memq_cli.sources.stdin import StandardInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from memq.encode.arrow import WirePoints
    from memq.encode.column_names import ColumnNames, Row


class Source(Protocol):
    name: str

    @property
    def total(self) -> int | None:
        """Number of points, as far as known."""
        ...

    def place(self, index: int) -> str:
        """Where this row stands, for people; of files that have to be read for it, the last row that was given out."""
        ...

    def points(self, start: int = 0) -> Iterator[Row] | AsyncIterator[Row] | WirePoints:
        """Points for `Producer.upsert`, starting at this row. Raises BadFile, also during iteration."""
        ...


JSON_LINES = (".jsonl", ".ndjson")
JSON = (".json",)
DELIMITED = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc", ".arrows")
TEXTS = (*JSON_LINES, *JSON, *DELIMITED)
KINDS = (
    f"{', '.join((*TEXTS, *PARQUET, *ARROW, '.npy', '.npz'))}, text files also with .gz or .zst, "
    "or - for JSON Lines from standard input"
)

_HEAD_BYTES = 64 * 1024


def open_source(name: str, columns: ColumnNames, payloads: Path | None = None, *, csv_types: bool = False) -> Source:
    """The file by its ending. Raises BadFile.

    csv_types: infer the types of CSV columns, which are text otherwise.
    """
    if name == "-":
        return StandardInput(columns)
    path = Path(name)
    _require_file(path)
    ending = _ending(path)
    if payloads is not None and ending != ".npy":
        raise BadFile(f"{path}: --payloads belongs to .npy files; here the payload is in the file itself")
    if csv_types and ending not in DELIMITED:
        raise BadFile(f"{path}: --csv-types belongs to CSV files; the types here are in the file itself")
    try:
        return _by_ending(path, ending, columns, payloads, csv_types)
    except OSError as error:
        raise BadFile(f"{error.filename or path}: {error.strerror or error}") from None


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character
        missing = isinstance(error, FileNotFoundError | ValueError)
        raise BadFile(f"{path}: {'no such file' if missing else error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise BadFile(f"{path}: is a directory")
    if not stat.S_ISREG(mode):
        raise BadFile(f"{path}: a pipe or device; give - to read JSON Lines from standard input, or name a file")


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if ending in COMPRESSED and inner in TEXTS else ending


def _by_ending(path: Path, ending: str, columns: ColumnNames, payloads: Path | None, csv_types: bool) -> Source:
    if ending in (*JSON_LINES, *JSON):
        return _json(path, ending, columns)
    if ending in DELIMITED:
        return DelimitedText(str(path), partial(open_file, path), ending == ".tsv", columns, types=csv_types)
    if ending in PARQUET:
        return parquet(path, columns)
    if ending in ARROW:
        return ipc(path, columns)
    if ending == ".npy":
        return NumpyMatrix(path, None if payloads is None else _json_lines(payloads, columns), columns)
    if ending == ".npz":
        return NumpyArchive(path, columns)
    raise BadFile(f"{path}: unknown file type; expected {KINDS}")


def _json(path: Path, ending: str, columns: ColumnNames) -> Source:
    """Lines, or by its beginning an array or objects over several lines, whatever the ending says."""
    try:
        with open_file(path) as stream:
            head = stream.read(_HEAD_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip()
    except UNREADABLE as error:
        raise BadFile(f"{path}: cannot be read: {error}") from None
    if ending in JSON or head.startswith(b"[") or head.partition(b"\n")[0].strip() == b"{":
        return JsonDocuments(str(path), partial(open_file, path), columns)
    return _json_lines(path, columns)


def _json_lines(path: Path, columns: ColumnNames) -> JsonLines:
    size = None if path.suffix.lower() in COMPRESSED else path.stat().st_size
    return JsonLines(str(path), partial(open_file, path), size, columns)
