"""Bodies of messages from the caller's points, with at most one message in memory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from memq.deliver.sender import Outgoing, checked
from memq.deliver.writes import Part
from memq.encode.columns import Columns, NamedColumns
from memq.encode.points import EncodedPoints, PointJson
from memq.encode.requests import body
from memq.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import orjson

    from memq.encode.arrow import ArrowBatch
    from memq.encode.points import Batch, Splitter
    from memq.encode.requests import RestModel
    from memq_schemas import Filter, Operation
    from memq_schemas.model import Model

B = TypeVar("B", bound="Batch | ArrowBatch")


def columns(ids: Any, vectors: Any, payloads: Any, versions: Any) -> Columns:
    """Raises InvalidRequest unless ids and vectors are there, equally long, and the rest with them."""
    if ids is None or vectors is None:
        raise InvalidRequest("give points, or the columns ids and vectors (and payloads, versions)")
    return Columns(_sequence(ids), _sequence(vectors), _sequence(payloads), _sequence(versions))


def _sequence(column: Any) -> Any:
    if column is None or type(column) in (list, tuple, np.ndarray):
        return column
    if isinstance(column, Mapping):
        return NamedColumns({name: _sequence(each) for name, each in cast("Mapping[str, Any]", column).items()})
    if hasattr(column, "indptr"):  # scipy's sparse matrices have no length
        return [column[row] for row in range(column.shape[0])]
    # A pandas or polars column, whose own indexing is not by position, or any iterable.
    return list(column)


def from_columns(source: Columns, splitter: Splitter) -> Iterator[Batch]:
    return _split(source.points(), splitter)


def from_rows(
    source: Iterable[Any] | AsyncIterable[Any] | EncodedPoints, splitter: Splitter, encode: PointJson | None = None
) -> Iterator[Batch] | AsyncIterator[Batch]:
    if isinstance(source, EncodedPoints):
        return _split(source.points, splitter)
    if type(source) is not list and isinstance(source, AsyncIterable):
        return _split_arriving(source, splitter, encode or PointJson())
    return _split(_rows(cast("Iterable[Any]", source), encode or PointJson()), splitter)


def _rows(source: Iterable[Any], points: PointJson) -> Iterator[bytes]:
    # Of a list it is known, and asking an abstract class has its price for a call with one point.
    if type(cast("object", source)) is not list and isinstance(source, (Mapping, str, bytes)):
        raise InvalidRequest("points: expected several points; put a single one into a list")
    if not isinstance(cast("object", source), Iterable):
        raise InvalidRequest(f"points: expected an iterable of points, this is {type(source).__name__}")
    encode = points.row
    for index, row in enumerate(source):
        yield encode(index, row)


def _split(points: Iterator[bytes], splitter: Splitter) -> Iterator[Batch]:
    for point in points:
        if (full := splitter.add(point)) is not None:
            yield full
    if (rest := splitter.rest()) is not None:
        yield rest


async def _split_arriving(source: AsyncIterable[Any], splitter: Splitter, encode: PointJson) -> AsyncIterator[Batch]:
    index = 0
    async for row in source:
        if (full := splitter.add(encode.row(index, row))) is not None:
            yield full
        index += 1
    if (rest := splitter.rest()) is not None:
        yield rest


def parts(
    source: Iterator[B] | AsyncIterator[B], outgoing: Callable[[B], Outgoing]
) -> Iterator[Part] | AsyncIterator[Part]:
    """Messages for `Writes` to send."""
    if isinstance(source, AsyncIterator):
        return (Part(batch.positions, outgoing(batch), batch.last) async for batch in source)
    return (Part(batch.positions, outgoing(batch), batch.last) for batch in source)


def chunks(ids: Sequence[Any], size: int) -> Iterator[range]:
    for start in range(0, len(ids), size):
        yield range(start, min(start + size, len(ids)))


IDS_PER_MESSAGE = 1000


def selection(
    max_bytes: int,
    operation: Operation,
    model: type[Model],
    collection: str,
    ids: list[orjson.Fragment] | None,
    filter: Mapping[str, Any] | Filter | RestModel | None,
    change: Mapping[str, Any],
) -> Iterator[Part]:
    """The messages of a write that names its points by ids or by filter."""
    if ids is None or filter is not None:
        text = body(model, {"ids": ids, "filter": filter, **change})
        yield Part(range(0), checked(Outgoing(operation, collection, text), max_bytes), last=True)
        return
    for part in chunks(ids, IDS_PER_MESSAGE):
        text = body(model, {"ids": ids[part.start : part.stop], **change})
        yield Part(part, checked(Outgoing(operation, collection, text), max_bytes), last=part.stop == len(ids))
