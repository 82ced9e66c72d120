"""The file that `memq scroll` writes, page by page, in memory that does not grow."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

import orjson
import typer

from memq_cli.table_file import TableFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memq_schemas import CollectionDescription, OrderedRecord

_TABLES = (".parquet", ".arrow")
_KINDS = (".jsonl", *_TABLES)


@dataclass(frozen=True, slots=True)
class Selection:
    """Points that an export chooses. An interrupted one is continued only by a run with the same choice."""

    collection: str
    filter: dict[str, Any] | None
    with_payload: Any
    with_vector: bool


class _Rows(Protocol):
    """Points as bytes of a file that is written from beginning to end."""

    def resume(self, part: Path) -> None:
        """Go on after what an unfinished file has."""
        ...

    def rows(self, points: Sequence[OrderedRecord]) -> bytes: ...

    def finish(self, part: Path, path: Path) -> None:
        """Make the whole file of its unfinished form."""
        ...


class Export:
    """Points on standard output or in a file.

    The points go to FILE.part, and beside it FILE.next has the offset of the next page and the length of FILE.part.
    After the last page FILE.part becomes FILE, so a file with that name is whole.
    """

    def __init__(self, path: Path | None, selection: Selection, *, restart: bool) -> None:
        """Raises typer.BadParameter for a file of another type, for one that exists, and for another export's part."""
        if path is not None and path.suffix not in _KINDS:
            raise typer.BadParameter(f"{path}: expected .jsonl, .parquet or .arrow", param_hint="FILE")
        if path is not None and path.exists() and not restart:
            raise typer.BadParameter(f"{path} exists; remove it, or replace it with --restart", param_hint="FILE")
        self.points = 0
        self.offset: int | str | None = None
        self.resumed = False
        self._path = path
        self._selection = selection
        self._length: int | None = None
        self._file: IO[bytes] | None = None
        self._rows: _Rows | None = None
        if path is not None and not restart and self._state_path.exists():
            self._resume()

    @property
    def needs_description(self) -> bool:
        """Return True if the file has columns, which are those of the collection."""
        return self._path is not None and self._path.suffix in _TABLES

    @property
    def _part_path(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.part")

    @property
    def _state_path(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.next")

    def _resume(self) -> None:
        try:
            state = orjson.loads(self._state_path.read_bytes())
            length, points, offset, of = state["length"], state["points"], state["offset"], state["of"]
        except (ValueError, KeyError, TypeError):
            raise typer.BadParameter(f"{self._state_path} is damaged; start over with --restart") from None
        if of != orjson.loads(orjson.dumps(asdict(self._selection))):
            raise typer.BadParameter(f"{self._state_path} belongs to an export of other points; see --restart")
        if not self._part_path.exists() or self._part_path.stat().st_size < length:
            raise typer.BadParameter(f"{self._part_path} is shorter than it was; start over with --restart")
        self._length, self.points, self.offset, self.resumed = length, points, offset, True

    def begin(self, description: CollectionDescription | None) -> None:
        """Open the file. `description` is needed where `needs_description`."""
        if self._path is None:
            self._rows, self._file = _Lines(), sys.stdout.buffer
            return
        if self.needs_description:
            assert description is not None
            self._rows = TableFile(self._path.suffix, description, with_vector=self._selection.with_vector)
        else:
            self._rows = _Lines()
        if self._length is None:
            self._file = self._part_path.open("wb")
        else:
            self._rows.resume(self._part_path)
            self._file = self._part_path.open("r+b")
            self._file.truncate(self._length)
            self._file.seek(self._length)

    def write(self, points: Sequence[OrderedRecord], following: int | str | None) -> None:
        """Write a page. `following` is the offset of the next page; None after the last one."""
        assert self._file is not None
        assert self._rows is not None
        if points:
            self._file.write(self._rows.rows(points))
        self._file.flush()
        self.points += len(points)
        if self._path is None:
            return
        if following is None:
            self._file.close()
            self._rows.finish(self._part_path, self._path)
            self._state_path.unlink(missing_ok=True)
            return
        state = {"offset": following, "length": self._file.tell(), "points": self.points, "of": asdict(self._selection)}
        new = self._state_path.with_name(f"{self._state_path.name}.{os.getpid()}")
        new.write_bytes(orjson.dumps(state))
        new.replace(self._state_path)

    def close(self) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()

    def advice(self) -> str | None:
        """How to go on after a failure; None where there is nothing to continue."""
        if self._path is None or not self._state_path.exists():
            return None
        return f"{self.points:,} points written; the same command continues after them, --restart starts over"


class _Lines:
    """JSON Lines."""

    def resume(self, part: Path) -> None:
        pass

    def rows(self, points: Sequence[OrderedRecord]) -> bytes:
        return b"".join(
            orjson.dumps(each.model_dump(exclude_none=True), option=orjson.OPT_APPEND_NEWLINE) for each in points
        )

    def finish(self, part: Path, path: Path) -> None:
        part.replace(path)
