"""From what `Producer.upsert` was called with to its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memq import arrow, batches
from memq.arrow.library import pyarrow
from memq.errors import InvalidRequest
from memq.splitter import Splitter
from memq_schemas import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from memq.calls import Calls
    from memq.options import Options
    from memq.sender import Outgoing
    from memq.splitter import Batch
    from memq.writes import Part


@dataclass(frozen=True, slots=True)
class Given:
    points: Any
    ids: Any
    vectors: Any
    payloads: Any
    versions: Any


def upserts(calls: Calls, collection: str, given: Given, options: Options) -> Iterator[Part] | AsyncIterator[Part]:
    """Raises InvalidRequest, also on the way, and there InvalidPoint."""

    def outgoing(batch: Batch | arrow.ArrowBatch) -> Outgoing:
        # Limits are of what a worker has after decompression.
        whole = calls.outgoing(Operation.UPSERT, collection, batch.body(), batch.content_type)
        return whole if options.compression is None else _compressed(whole, options.compression)

    return batches.parts(_batches(given, options), outgoing)


def _compressed(outgoing: Outgoing, name: str) -> Outgoing:
    body: bytes = pyarrow().Codec(name).compress(outgoing.body, asbytes=True)
    return outgoing._replace(body=body, content_encoding=name)


def _batches(given: Given, options: Options) -> Iterator[Batch] | AsyncIterator[Batch] | Iterator[arrow.ArrowBatch]:
    limits = options.max_points_per_message, options.max_message_bytes
    if given.points is None:
        columns = batches.columns(given.ids, given.vectors, given.payloads, given.versions)
        if options.arrow is not False and arrow.fits(columns, options.max_points_per_message):
            return arrow.split(arrow.from_columns(columns), *limits)
        return batches.from_columns(columns, Splitter(*limits))
    if any(column is not None for column in (given.ids, given.vectors, given.payloads, given.versions)):
        raise InvalidRequest("give points or columns, not both")
    if isinstance(given.points, arrow.WirePoints):
        return arrow.split(given.points.batches, *limits)
    if arrow.is_arrow(given.points):
        return arrow.split(arrow.PointTable.of(given.points).wire(), *limits)
    return batches.from_rows(given.points, Splitter(*limits))
