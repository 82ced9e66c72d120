"""The file that `memq scroll` writes, page by page, in memory that does not grow."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Self

import orjson
import typer

from memq_cli.table_file import TableFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memq_schemas import OrderedRecord

_TABLES = (".parquet", ".arrow")


class Export:
    """Points on standard output or in a file.

    Beside an unfinished JSON Lines file stands FILE.next, with the offset of the next page and the file's length at its
    beginning. Raises typer.BadParameter for a file that cannot be written so.
    """

    def __init__(self, path: Path | None, resume: bool) -> None:
        if path is not None and path.suffix not in (".jsonl", *_TABLES):
            raise typer.BadParameter(f"{path}: expected .jsonl, .parquet or .arrow", param_hint="FILE")
        self.points = 0
        self.offset: int | str | None = None
        self.finished = False
        self._path = path
        self._state = None if path is None else path.with_name(f"{path.name}.next")
        self._length: int | None = None
        if resume:
            self._resume()
        elif path is not None and path.exists():
            raise typer.BadParameter(f"{path} exists: remove it, or continue it with --resume", param_hint="FILE")
        self._file: IO[bytes] | None = None
        self._table: TableFile | None = None

    def _resume(self) -> None:
        if self._path is None or self._state is None or self._path.suffix != ".jsonl" or not self._state.exists():
            raise typer.BadParameter("there is no unfinished .jsonl export to continue", param_hint="--resume")
        state = orjson.loads(self._state.read_bytes())
        self.offset, self._length, self.points = state["offset"], state["length"], state["points"]

    def __enter__(self) -> Self:
        if self._path is None:
            self._file = sys.stdout.buffer
        elif self._length is None:
            self._file = self._path.open("xb")
        else:
            self._file = self._path.open("r+b")
            self._file.truncate(self._length)
            self._file.seek(self._length)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        if self._table is not None:
            self._table.close()
        self._file.flush()
        if self._path is not None:
            self._file.close()

    def write(self, points: Sequence[OrderedRecord], following: int | str | None) -> None:
        assert self._file is not None
        if self._path is not None and self._path.suffix in _TABLES:
            self._table = self._table or TableFile(self._file, self._path.suffix)
            self._table.write(points)
        else:
            rows = [
                orjson.dumps(each.model_dump(exclude_none=True), option=orjson.OPT_APPEND_NEWLINE) for each in points
            ]
            self._file.write(b"".join(rows))
            self._file.flush()
        self.points += len(points)
        self.finished = following is None
        if self._state is not None and self._path is not None and self._path.suffix == ".jsonl":
            if self.finished:
                self._state.unlink(missing_ok=True)
            else:
                state = {"offset": following, "length": self._file.tell(), "points": self.points}
                self._state.write_bytes(orjson.dumps(state))

    def advice(self) -> str | None:
        """How to go on after a failure; None where there is nothing to continue."""
        if self._state is None or not self._state.exists():
            return None
        return f"{self.points} points written; continue with --resume"
