"""From whatever the caller has to the bodies of messages, without holding more than one message of it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from memq.columns import Columns
from memq.errors import InvalidRequest
from memq.points import PointJson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from memq.splitter import Batch, Splitter


def columns(ids: Any, vectors: Any, payloads: Any, versions: Any) -> Columns:
    """Raises InvalidRequest unless ids and vectors are there, equally long, and the rest with them."""
    if ids is None or vectors is None:
        raise InvalidRequest("give points, or the columns ids and vectors (and payloads, versions)")
    return Columns(_sequence(ids), _sequence(vectors), _sequence(payloads), _sequence(versions))


def _sequence(column: Any) -> Any:
    if column is None or type(column) in (list, tuple, np.ndarray):
        return column
    # A pandas or polars column, whose own indexing is not by position, or any iterable.
    return list(column)


async def from_columns(source: Columns, splitter: Splitter) -> AsyncIterator[Batch]:
    for batch in _split(source.points(), splitter):
        yield batch


async def from_rows(source: Iterable[Any] | AsyncIterable[Any], splitter: Splitter) -> AsyncIterator[Batch]:
    encode = PointJson()
    if isinstance(source, AsyncIterable):
        index = 0
        async for row in source:
            if (full := splitter.add(encode.row(index, row))) is not None:
                yield full
            index += 1
        if (rest := splitter.rest()) is not None:
            yield rest
        return
    if isinstance(source, (Mapping, str, bytes)):
        raise InvalidRequest("points: expected several points; put a single one into a list")
    for batch in _split((encode.row(index, row) for index, row in enumerate(source)), splitter):
        yield batch


def _split(points: Iterator[bytes], splitter: Splitter) -> Iterator[Batch]:
    for point in points:
        if (full := splitter.add(point)) is not None:
            yield full
    if (rest := splitter.rest()) is not None:
        yield rest


def chunks(ids: Sequence[Any], size: int) -> Iterator[range]:
    for start in range(0, len(ids), size):
        yield range(start, min(start + size, len(ids)))
