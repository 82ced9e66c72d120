"""What was sent and what came back: an append-only file, written before and after each publish, read by the checker."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DIMENSIONS = 4
COLLECTION = "chaos"
IDENTITY = "x-chaos"  # header with a message's name, for bodies that cannot carry it

Expected = Literal["applied", "refused", "either"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the run. Vectors and digests follow from these fields, so the checker needs nothing else.

    expected: whether the worker has to apply it or to refuse it.   version: of its points; None for none.
    envelope: digest of its sender's properties, which a dead letter has to keep; None where nothing is compared.
    """

    run: str
    producer: str
    seq: int
    keys: tuple[int, ...]
    version: int | None = None
    operation: Literal["upsert", "delete", "hostile"] = "upsert"
    expected: Expected = "applied"
    envelope: str | None = None

    @property
    def name(self) -> str:
        return f"{self.run}/{self.producer}/{self.seq}"

    def vector(self, key: int) -> list[float]:
        seed = hashlib.blake2b(f"{self.name}/{key}".encode(), digest_size=2 * DIMENSIONS).digest()
        # Halves of small integers: exact in float32, whatever reads and writes them.
        return [number / 2 for number in struct.unpack(f"<{DIMENSIONS}h", seed)]

    def point(self, key: int) -> dict[str, Any]:
        vector = self.vector(key)
        payload = {"run": self.run, "producer": self.producer, "seq": self.seq, "v": self.version}
        payload["digest"] = digest(self, key, vector)
        row: dict[str, Any] = {"id": key, "vector": vector, "payload": payload}
        return row if self.version is None else row | {"version": self.version}

    @property
    def body(self) -> dict[str, Any]:
        if self.operation == "delete":
            ids = {"ids": list(self.keys)}
            return ids if self.version is None else ids | {"version": self.version}
        points = [self.point(key) for key in self.keys]
        if self.expected == "refused":
            points[-1]["vector"] = points[-1]["vector"] + [0.5]  # one dimension too many
        return {"points": points}


def digest(message: Message, key: int, vector: Iterable[float]) -> str:
    numbers = struct.pack(f"<{DIMENSIONS}f", *vector)
    return hashlib.blake2b(f"{message.name}/{key}/{message.version}/".encode() + numbers, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    correlation_id: str
    status: int
    code: str | None
    result: Any


@dataclass
class Record:
    """The ledger as the checker reads it."""

    run: str
    attempted: dict[str, Message] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)  # correlation id -> what was asked
    replies: list[Reply] = field(default_factory=list)


class Ledger:
    """`attempted` and `confirmed` return once their lines are on the disk."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self._file = path.open("ab")

    def attempted(self, messages: Iterable[Message]) -> None:
        """To be called before they are published: what is in the store later must be in here."""
        self._write([{"attempted": asdict(message)} for message in messages], durable=True)

    def confirmed(self, messages: Iterable[Message]) -> None:
        self._write([{"confirmed": message.name} for message in messages], durable=True)

    def asked(self, correlation_id: str, question: dict[str, Any]) -> None:
        self._write([{"asked": correlation_id, "question": question}], durable=False)

    def replied(self, reply: Reply) -> None:
        self._write([{"replied": asdict(reply)}], durable=False)

    def _write(self, lines: list[dict[str, Any]], *, durable: bool) -> None:
        self._file.write(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        self._file.flush()
        if durable and lines:
            os.fsync(self._file.fileno())

    def read(self) -> Record:
        record = Record(self.run)
        for line in self.path.read_bytes().splitlines():
            match orjson.loads(line):
                case {"attempted": fields}:
                    message = Message(**{**fields, "keys": tuple(fields["keys"])})
                    record.attempted[message.name] = message
                case {"confirmed": name}:
                    record.confirmed.add(name)
                case {"asked": correlation_id, "question": question}:
                    record.asked[correlation_id] = question
                case {"replied": fields}:
                    record.replies.append(Reply(**fields))
                case other:
                    raise ValueError(f"not a ledger line: {other}")
        return record

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
