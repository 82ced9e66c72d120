"""Record batches of points to the bodies of messages."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from memq.encode.arrow.library import pyarrow
from memq.errors import InvalidPoint
from memq_schemas import headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memq_schemas.points import Mode

# Converted together: enough to spread the cost of a call, few enough to hold few.
ROWS = 1000

# How an IPC stream says that it is over.
_END = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True, slots=True)
class WirePoints:
    """Record batches whose columns are checked, and as workers take them."""

    batches: Iterable[Any]


@dataclass(frozen=True, slots=True)
class ArrowBatch:
    """The points of one message. `positions` are theirs in the call; after the `last` one come no more, which is not
    known of each that is."""

    content_type: ClassVar[str] = headers.ARROW_STREAM

    positions: range
    stream: bytes
    last: bool = False

    def body(self) -> bytes:
        return self.stream


def split(batches: Iterable[Any], max_points: int, max_bytes: int, mode: Mode = "upsert") -> Iterator[ArrowBatch]:
    """Messages with as many points as they may have, by count and by bytes. Raises InvalidPoint for one too large."""
    waiting = _Rows()
    messages = _Messages(max_points, max_bytes, mode)
    for batch in batches:
        waiting.add(batch)
        while waiting.alike >= max_points or waiting.changes:
            yield messages.next(waiting)
    while waiting.alike:
        message = messages.next(waiting)
        yield message if waiting.alike else replace(message, last=True)


class _Rows:
    """Record batches end to end."""

    def __init__(self) -> None:
        self._parts: deque[Any] = deque()
        self.alike = 0
        """Rows that one message can hold together: those before the types of the columns change."""

    @property
    def changes(self) -> bool:
        return bool(self._parts) and self._parts[0].schema != self._parts[-1].schema

    def add(self, batch: Any) -> None:
        if batch.num_rows:
            self._parts.append(batch)
            self._count()

    def first(self, rows: int) -> Any:
        front = self._parts[0]
        if front.num_rows >= rows or len(self._parts) == 1:
            return front.slice(0, rows)
        return self._joined(rows)

    def drop(self, rows: int) -> None:
        while rows:
            front = self._parts.popleft()
            if front.num_rows > rows:
                self._parts.appendleft(front.slice(rows))
                rows = 0
            else:
                rows -= front.num_rows
        self._count()

    def _joined(self, rows: int) -> Any:
        parts: list[Any] = []
        for part in self._parts:
            if part.schema != self._parts[0].schema or not rows:
                break
            parts.append(part.slice(0, rows))
            rows -= parts[-1].num_rows
        return pyarrow().concat_batches(parts)

    def _count(self) -> None:
        self.alike = 0
        for part in self._parts:
            if part.schema != self._parts[0].schema:
                break
            self.alike += part.num_rows


class _Messages:
    def __init__(self, max_points: int, max_bytes: int, mode: Mode) -> None:
        self._max_points = max_points
        self._max_bytes = max_bytes
        self._metadata = None if mode == "upsert" else {"mode": mode}
        # As many as fitted last time, and some more.
        self._points = max_points
        self._position = 0
        self._schema: Any = None
        self._head = b""

    def next(self, rows: _Rows) -> ArrowBatch:
        points = min(self._points, rows.alike)
        while len(body := self._stream(rows.first(points))) > self._max_bytes:
            if points == 1:
                raise InvalidPoint(
                    self._position, None, f"{len(body)} bytes as a message, max_message_bytes is {self._max_bytes}"
                )
            points = max(1, min(points - 1, points * self._max_bytes // len(body)))
            self._points = points
        positions = range(self._position, self._position + points)
        rows.drop(points)
        self._position = positions.stop
        self._points = min(self._max_points, self._points + self._points // 8 + 1)
        return ArrowBatch(positions, body)

    def _stream(self, batch: Any) -> bytes:
        if batch.schema != self._schema:
            self._schema = batch.schema
            self._head = batch.schema.with_metadata(self._metadata).serialize().to_pybytes()
        # Cheaper than a stream writer, which makes the schema every time.
        return b"".join((self._head, batch.serialize(), _END))
