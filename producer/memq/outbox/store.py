"""The outbox file: SQLite, in the order in which messages were accepted. Nothing here is async: one thread runs it.

A message is stored when its transaction has been committed: in WAL mode with synchronous=FULL the log is on the disk by
then (fsync), so it survives the end of this process, and a power cut as far as the disk keeps its word.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq.deliver.sender import Outgoing
from memq.errors import OutboxError
from memq_schemas import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = 2
# "memq" as a number, which SQLite keeps in the file's header.
APPLICATION = 0x6D656D71

# What a message takes besides its body; counted so that a limit in bytes bounds many small ones too.
OVERHEAD_BYTES = 256

_SCHEMA = """
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL,
    collection TEXT,
    content_type TEXT NOT NULL,
    traceparent TEXT,
    content_encoding TEXT,
    body BLOB NOT NULL
)
"""


# Of messages that the broker takes from nobody. An older memq leaves the table alone.
_REFUSED = _SCHEMA.replace("CREATE TABLE message", "CREATE TABLE IF NOT EXISTS refused")
_COLUMNS = "operation, collection, content_type, traceparent, content_encoding, body"


@dataclass(frozen=True, slots=True)
class Stored:
    seq: int
    outgoing: Outgoing


@dataclass(frozen=True, slots=True)
class Content:
    """messages, size: what is in it.   sent, stored: the numbers of the last ones ever removed and ever stored."""

    messages: int
    size: int
    sent: int
    stored: int


class Store:
    """Raises OutboxError when it cannot be opened; later sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Vectors and payloads are their owner's business only.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"the outbox {path} cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise OutboxError(f"the outbox {path} {_trouble(error)}") from error
        except OutboxError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        # Held from the first transaction to the end of this process, however it ends.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        with _transaction(self._db):
            new, version = self._is_new(), self._version()
        # Not before it is known to be ours: this is written into the file.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if new:
            with _transaction(self._db):
                self._db.execute(f"PRAGMA application_id = {APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")
                self._db.execute(_SCHEMA)
        elif version < VERSION:
            with _transaction(self._db):
                self._db.execute("ALTER TABLE message ADD COLUMN content_encoding TEXT")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

        with _transaction(self._db):
            self._db.execute(_REFUSED)
            # The broker's limit may have been raised: each is tried once by every producer that opens the file.
            self._db.execute(f"INSERT INTO message ({_COLUMNS}) SELECT {_COLUMNS} FROM refused ORDER BY seq")
            self._db.execute("DELETE FROM refused")

    def _is_new(self) -> bool:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        version = self._version()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION and tables:
            raise OutboxError(f"{self._path} is another program's database, not an outbox")
        if application == APPLICATION and not 1 <= version <= VERSION:
            raise OutboxError(f"the outbox {self._path} has format {version}, this memq writes {VERSION}")
        return not tables

    def _version(self) -> int:
        return self._db.execute("PRAGMA user_version").fetchone()[0]

    def content(self) -> Content:
        count, size = self._db.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM message").fetchone()
        (first,) = self._db.execute("SELECT min(seq) FROM message").fetchone()
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchone()
        last = row[0] if row else 0
        return Content(count, size + count * OVERHEAD_BYTES, last if first is None else first - 1, last)

    def append(self, messages: Sequence[Outgoing]) -> int:
        """All or none, in this order. The number of the last."""
        rows = [
            (str(m.operation), m.collection, m.content_type, m.traceparent, m.content_encoding, m.body)
            for m in messages
        ]
        with _transaction(self._db):
            self._db.executemany(
                f"INSERT INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            (last,) = self._db.execute("SELECT max(seq) FROM message").fetchone()
        return last

    def after(self, seq: int, messages: int, size: int) -> list[Stored]:
        """The next ones, at least one if there is one, at most so many and about so many bytes."""
        found: list[Stored] = []
        rows = self._db.execute(
            f"SELECT seq, {_COLUMNS} FROM message WHERE seq > ? ORDER BY seq LIMIT ?",
            (seq, messages),
        )
        for number, operation, collection, content_type, traceparent, content_encoding, body in rows:
            outgoing = Outgoing(Operation(operation), collection, body, content_type, traceparent, content_encoding)
            found.append(Stored(number, outgoing))
            size -= len(body)
            if size <= 0:
                break
        rows.close()
        return found

    def remove_through(self, seq: int) -> None:
        with _transaction(self._db):
            self._db.execute("DELETE FROM message WHERE seq <= ?", (seq,))

    def set_aside(self, seq: int) -> None:
        """Keep the message for the next producer that opens the file, out of the way of the others."""
        with _transaction(self._db):
            self._db.execute(f"INSERT INTO refused ({_COLUMNS}) SELECT {_COLUMNS} FROM message WHERE seq = ?", (seq,))
            self._db.execute("DELETE FROM message WHERE seq = ?", (seq,))

    def close(self) -> None:
        self._db.close()


class _transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN EXCLUSIVE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _trouble(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "is in use: one producer owns an outbox, give each its own file"
    return f"cannot be used: {error}"
