"""Read ahead, so that a small file with a bad row is refused before any of it is sent."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from memq.encode.arrow import WirePoints
from memq.encode.points import EncodedPoints, PointJson, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memq.encode.column_names import Row

ROWS = 10_000
BYTES = 16 * 1024 * 1024

T = TypeVar("T")


def encoded(rows: Iterable[Row], max_bytes: int) -> EncodedPoints:
    """The points of rows, of which the first are read and checked now. Raises BadFile and InvalidPoint."""
    return EncodedPoints(_ahead(_texts(rows, max_bytes), lambda text: (1, len(text))))


def checked(points: WirePoints) -> WirePoints:
    """The same points, of which the first are read and checked now. Raises BadFile and InvalidPoint."""
    return WirePoints(_ahead(iter(points.batches), lambda batch: (batch.num_rows, batch.nbytes)))


def _texts(rows: Iterable[Row], max_bytes: int) -> Iterator[bytes]:
    encode = PointJson().row
    for index, row in enumerate(rows):
        # The place of an error is the row that was read last, so its size is checked here too.
        yield fitting(index, encode(index, row), max_bytes)


def _ahead(items: Iterator[T], size: Callable[[T], tuple[int, int]]) -> Iterator[T]:
    first: list[T] = []
    rows = total = 0
    for item in items:
        first.append(item)
        more, length = size(item)
        rows, total = rows + more, total + length
        if rows >= ROWS or total >= BYTES:
            break
    return _released(first, items)


def _released(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    # Each is let go of when it is sent.
    first.reverse()
    while first:
        yield first.pop()
    yield from itertools.chain(rest)
