from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memq.errors import InvalidPoint
from memq_schemas import headers

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_BYTES = len(b'{"points":[]}')


class Batch(NamedTuple):
    """The points of one message, each as JSON. `positions` are theirs in the call; after the `last` one come no more,
    which is not known of each that is."""

    positions: range
    points: list[bytes]
    last: bool = False

    content_type = headers.JSON

    def body(self) -> bytes:
        return body(self.points)


class Splitter:
    """Gathers points until a message has as many as it may, by count or by bytes of its body."""

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self._max_points = max_points
        self._max_bytes = max_bytes
        self._first = 0
        self._points: list[bytes] = []
        self._size = FRAME_BYTES

    def add(self, point: bytes) -> Batch | None:
        """A batch that is full now. Raises InvalidPoint if no message can hold the point."""
        fitting(self._first + len(self._points), point, self._max_bytes)
        full = self._take() if self._size + len(point) > self._max_bytes else None
        self._points.append(point)
        self._size += len(point) + 1
        if len(self._points) == self._max_points:
            # Never both: where the limit is one point, nothing was waiting for this one.
            return full or self._take()
        return full

    def rest(self) -> Batch | None:
        return self._take(last=True) if self._points else None

    def _take(self, *, last: bool = False) -> Batch:
        positions = range(self._first, self._first + len(self._points))
        batch = Batch(positions, self._points, last)
        self._first = positions.stop
        self._points = []
        self._size = FRAME_BYTES
        return batch


def body(points: Sequence[bytes]) -> bytes:
    """Body of a message with these points, each as JSON."""
    return b'{"points":[%b]}' % (points[0] if len(points) == 1 else b",".join(points))


def fitting(position: int, point: bytes, max_bytes: int) -> bytes:
    """The point. Raises InvalidPoint if no message can hold it."""
    if FRAME_BYTES + len(point) > max_bytes:
        limit = max_bytes - FRAME_BYTES
        raise InvalidPoint(position, None, f"{len(point)} bytes as JSON, max_message_bytes leaves {limit}")
    return point
