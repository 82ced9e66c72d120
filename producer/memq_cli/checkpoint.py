"""Progress of an upload in a small file, from which an interrupted upload resumes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from memq_cli.output import notice
from memq_cli.sources import BadFile, ColumnNames

if TYPE_CHECKING:
    from memq.connection.address import Address

FORMAT = 1
WRITE_SECONDS = 1.0
SYNC_SECONDS = 30.0

_DEFAULTS = ColumnNames()
_AGAIN = "--restart sends all of it again"


@dataclass(frozen=True, slots=True)
class Identity:
    """Properties that have to match for one run to resume another."""

    file: str
    payloads: str | None
    collection: str
    brokers: list[str]
    prefix: str
    columns: dict[str, Any]
    size: list[int]
    """Of the files, in bytes."""
    changed: list[int]
    """When they were last written, in nanoseconds."""

    @classmethod
    def of(
        cls,
        file: Path,
        payloads: Path | None,
        collection: str,
        brokers: tuple[Address, ...],
        prefix: str,
        columns: ColumnNames,
    ) -> Identity:
        files = [path for path in (file, payloads) if path is not None]
        stats = [path.stat() for path in files]
        return cls(
            os.path.realpath(file),
            None if payloads is None else os.path.realpath(payloads),
            collection,
            list(map(str, brokers)),
            prefix,
            json.loads(_text(asdict(columns))),
            [stat.st_size for stat in stats],
            [stat.st_mtime_ns for stat in stats],
        )

    @property
    def default_path(self) -> Path:
        """One for each file and where it goes, below XDG_STATE_HOME."""
        state = Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"))
        key = _text([self.file, self.collection, self.brokers, self.prefix])
        return state / "memq" / "uploads" / f"{hashlib.sha256(key).hexdigest()[:24]}.json"

    def difference(self, other: dict[str, Any]) -> str | None:
        """Describe the differences from the interrupted run."""
        mine = asdict(self)
        if any(mine[name] != other.get(name) for name in ("file", "payloads", "collection", "brokers", "prefix")):
            return f"belongs to another upload, {other.get('file')} to {other.get('collection')}"
        if any(mine[name] != other.get(name) for name in ("size", "changed")):
            return f"belongs to an earlier version of {self.file}"
        columns: dict[str, Any] = other.get("columns") or {}
        for name, value in self.columns.items():
            # An older memq did not write the fields that it did not know.
            before = columns.get(name, getattr(_DEFAULTS, name))
            if value != before:
                return f"belongs to a run with other columns: {name} was {before!r}, now it is {value!r}"
        return None


class Checkpoint:
    """rows: so many of the file's first points are delivered."""

    def __init__(self, path: Path, identity: Identity, *, required: bool) -> None:
        """required: a file that cannot be written is an error, and not only the end of going on."""
        self.rows = 0
        self._path = path
        self._identity = identity
        self._required = required
        self._usable = True
        self._written = self._synced = time.monotonic() - WRITE_SECONDS
        self._noted = 0

    def read(self, *, restart: bool = False) -> None:
        """Raises BadFile when it is of another upload, or of another state of the file.

        restart: what it says is forgotten, whatever it is of.
        """
        try:
            stored: Any = json.loads(self._path.read_bytes().decode(errors="surrogateescape"))
        except FileNotFoundError:
            return
        except OSError as error:
            self._fail(error)
            return
        except ValueError:
            notice(f"memq: {self._path} is damaged, sending all points")
            return
        fields = cast("dict[str, Any]", stored) if isinstance(stored, dict) else {}
        if fields.get("format") != FORMAT:
            raise BadFile(f"{self._path}: no checkpoint of memq upsert; name another file with --checkpoint")
        if restart:
            self.remove()
            return
        if difference := self._identity.difference(fields):
            raise BadFile(f"the checkpoint {self._path} {difference}; {_AGAIN}")
        self.rows = self._noted = int(fields["rows"])

    def note(self, rows: int) -> None:
        """Written at most once a second."""
        if rows != self._noted:
            self._noted = rows
            if time.monotonic() - self._written >= WRITE_SECONDS:
                self.write()

    def write(self) -> None:
        """Last recorded progress."""
        if not self._usable or not self._noted:
            return
        now = time.monotonic()
        sync = now - self._synced >= SYNC_SECONDS
        text = _text({"format": FORMAT, "rows": self._noted, **asdict(self._identity)})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _replace(self._path, text, sync=sync)
        except OSError as error:
            self._fail(error)
        self._written = now
        self._synced = now if sync else self._synced

    @property
    def sent_before(self) -> int:
        """Record the progress for the next run."""
        return self._noted if self._usable else 0

    def remove(self) -> None:
        """Discard the recorded progress; the next run starts at the beginning."""
        self.rows = self._noted = 0
        try:
            self._path.unlink(missing_ok=True)
        except NotADirectoryError:
            pass
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self._required:
            raise BadFile(f"{self._path}: {error.strerror or error}") from None
        self._usable = False
        notice(f"memq: {self._path}: {error.strerror or error}; an interrupted run will start from the beginning")


def _text(value: Any) -> bytes:
    """JSON, in which names of files that are not UTF-8 keep their bytes; orjson refuses these."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape")


def _replace(path: Path, text: bytes, *, sync: bool) -> None:
    """Replace the file atomically: a reader finds the old text or the new one."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with new.open("wb") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
