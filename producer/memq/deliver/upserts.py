"""Messages from the arguments of `Producer.upsert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from memq.deliver import batches
from memq.deliver.sender import Outgoing, checked
from memq.deliver.writes import Writes
from memq.encode import arrow
from memq.encode.arrow.library import pyarrow
from memq.encode.column_names import ColumnNames
from memq.encode.points import PointJson, Splitter, VectorsJson, fitting, points_body
from memq.errors import InvalidRequest, MemqError
from memq_schemas import Operation, headers
from memq_schemas.points import MODES, Mode
from memq_schemas.topology import BULK, LIVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from memq.answers import Receipt
    from memq.deliver.write_path import WritePath
    from memq.deliver.writes import Part
    from memq.encode.points import Batch
    from memq.options import Options
    from memq_schemas.topology import Lane


class Given(NamedTuple):
    """The points of a call, and what the worker is to do with them."""

    points: Any
    ids: Any = None
    vectors: Any = None
    payloads: Any = None
    versions: Any = None
    operation: Operation = Operation.UPSERT
    mode: Mode = "upsert"

    @property
    def columns(self) -> bool:
        return not (self.ids is self.vectors is self.payloads is self.versions is None)

    @property
    def head(self) -> bytes:
        """The first fields of a JSON body."""
        return b"" if self.mode == "upsert" else b'"mode":"%b",' % self.mode.encode()


def deliver_upsert(
    path: WritePath,
    collection: str,
    given: Given,
    options: Options,
    progress: Callable[[Receipt], None] | None,
    lane: Lane = LIVE,
) -> Coroutine[Any, Any, Receipt]:
    """Return when all messages are delivered. Raises the errors of `Producer.upsert`."""
    if lane != LIVE and (lane != BULK or path.stores):
        raise InvalidRequest(
            f"lane: {lane!r}, expected 'live' or 'bulk'" if lane != BULK else "lane: an outbox has the live lane only"
        )
    if given.mode not in MODES:
        raise InvalidRequest(f"mode: {given.mode!r}, expected one of {', '.join(MODES)}")
    if type(cast("object", given.points)) is list and len(given.points) == 1 and not given.columns:
        outgoing = _outgoing(collection, given, options, lane)
        return _single(
            path, given.points[0], options.max_message_bytes - len(given.head), outgoing, progress, _encoder(given)
        )
    return Writes(path, progress).run(upserts(collection, given, options, lane))


async def _single(
    path: WritePath,
    row: object,
    max_bytes: int,
    outgoing: Callable[[bytes], Outgoing],
    progress: Callable[[Receipt], None] | None,
    encode: PointJson,
) -> Receipt:
    """Deliver a call of one point, without the splitting, counting and ordering of `Writes`.

    Many programs write no other way, and all that would cost them half as much again.
    """
    positions = None
    try:
        if path.asks:
            await path.prepare()
        message = outgoing(points_body((fitting(0, encode.row(0, row), max_bytes),)))
        size, positions = len(message.body), range(1)
        if not path.window.take(size):
            await path.room(message)
        try:
            elapsed = await path.deliver(message)
        finally:
            path.window.release(size)
    except MemqError as error:
        error.points, error.confirmed = positions, path.receipt(0, 0, 0, None)
        raise
    receipt = path.receipt(1, 1, 1, elapsed)
    if progress is not None:
        progress(receipt)
    return receipt


def upserts(collection: str, given: Given, options: Options, lane: Lane = LIVE) -> Iterator[Part] | AsyncIterator[Part]:
    """Raises InvalidRequest, also on the way, and there InvalidPoint."""
    outgoing = _outgoing(collection, given, options, lane)
    return batches.parts(_batches(given, options), lambda batch: outgoing(batch.body(), batch.content_type))


def _outgoing(collection: str, given: Given, options: Options, lane: Lane) -> Callable[..., Outgoing]:
    operation, head = given.operation, given.head

    def outgoing(body: bytes, content_type: str = headers.JSON) -> Outgoing:
        if head and content_type == headers.JSON:
            body = b"{" + head + body[1:]
        # Limits are of what a worker has after decompression.
        whole = checked(Outgoing(operation, collection, body, content_type), options.max_message_bytes)
        if lane != LIVE:
            whole = whole._replace(lane=lane)
        return whole if options.compression is None else _compressed(whole, options.compression)

    return outgoing


def _encoder(given: Given) -> PointJson:
    return PointJson() if given.operation is Operation.UPSERT else VectorsJson()


def _compressed(outgoing: Outgoing, name: str) -> Outgoing:
    body: bytes = pyarrow().Codec(name).compress(outgoing.body, asbytes=True)
    return outgoing._replace(body=body, content_encoding=name)


def _batches(given: Given, options: Options) -> Iterator[Batch] | AsyncIterator[Batch] | Iterator[arrow.ArrowBatch]:
    limits = options.max_points_per_message, options.max_message_bytes - len(given.head)
    if given.points is None:
        columns = batches.columns(given.ids, given.vectors, given.payloads, given.versions)
        if options.arrow is not False and arrow.fits(columns, options.max_points_per_message):
            return arrow.split(arrow.from_columns(columns), *limits, given.mode)
        return batches.from_columns(columns, Splitter(*limits))
    if given.columns:
        raise InvalidRequest("give points or columns, not both")
    if isinstance(given.points, arrow.WirePoints):
        return arrow.split(given.points.batches, *limits, given.mode)
    if arrow.is_arrow(given.points):
        names = ColumnNames() if given.operation is Operation.UPSERT else ColumnNames(payload=())
        return arrow.split(arrow.PointTable.of(given.points, names).wire(), *limits, given.mode)
    return batches.from_rows(given.points, Splitter(*limits), _encoder(given))
