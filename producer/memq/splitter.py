from __future__ import annotations

from dataclasses import dataclass

from memq.errors import InvalidPoint

_HEAD, _TAIL = b'{"points":[', b"]}"
FRAME_BYTES = len(_HEAD) + len(_TAIL)


@dataclass(frozen=True, slots=True)
class Batch:
    """The points of one message, each as JSON. `positions` are theirs in the call."""

    positions: range
    points: list[bytes]

    def body(self) -> bytes:
        return _HEAD + b",".join(self.points) + _TAIL


class Splitter:
    """Gathers points until a message has as many as it may, by count or by bytes of its body."""

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self._max_points = max_points
        self._max_bytes = max_bytes
        self._first = 0
        self._points: list[bytes] = []
        self._size = FRAME_BYTES

    def add(self, point: bytes) -> Batch | None:
        """The batch before, if the point does not fit into it. Raises InvalidPoint if no message can hold the point."""
        room = self._max_bytes - self._size - len(point)
        full = None
        if self._points and (room < 0 or len(self._points) == self._max_points):
            if FRAME_BYTES + len(point) > self._max_bytes:
                raise self._too_large(point)
            full = self._take()
        elif room < 0:
            raise self._too_large(point)
        self._points.append(point)
        self._size += len(point) + 1
        return full

    def rest(self) -> Batch | None:
        return self._take() if self._points else None

    def _take(self) -> Batch:
        positions = range(self._first, self._first + len(self._points))
        batch = Batch(positions, self._points)
        self._first = positions.stop
        self._points = []
        self._size = FRAME_BYTES
        return batch

    def _too_large(self, point: bytes) -> InvalidPoint:
        position = self._first + len(self._points)
        limit = self._max_bytes - FRAME_BYTES
        return InvalidPoint(position, None, f"{len(point)} bytes as JSON, max_message_bytes leaves {limit}")
