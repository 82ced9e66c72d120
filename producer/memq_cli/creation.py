"""Dimensions of the first point, which `memq upsert --create` needs before it sends."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from memq.encode.arrow import WirePoints
from memq.encode.vectors import flat_array
from memq.errors import RemoteError
from memq_cli.output import notice
from memq_cli.sources import BadFile
from memq_schemas import ErrorCode

if TYPE_CHECKING:
    from memq.encode.column_names import Row
    from memq.producer import Producer
    from memq_schemas import Distance


Dimensions: TypeAlias = dict[str, int]


async def create(producer: Producer, collection: str, distance: Distance, dimensions: Dimensions) -> bool:
    """Make the collection if it is missing; return True if it was. One that takes these vectors is left as it is."""
    if await _takes(producer, collection, distance, dimensions):
        return False
    if "" in dimensions:
        answer = await producer.collections.create(collection, dimensions[""], distance, exist_ok=True)
    else:
        vectors: Any = {name: {"size": size, "distance": distance} for name, size in dimensions.items()}
        answer = await producer.collections.create(collection, vectors=vectors, exist_ok=True)
    if answer.created:
        told = ", ".join(f"{name} {size}".strip() for name, size in dimensions.items())
        notice(f"memq: created collection {collection} ({told} dimensions, {distance})")
    return answer.created


async def _takes(producer: Producer, collection: str, distance: Distance, dimensions: Dimensions) -> bool:
    try:
        there = (await producer.collections.describe(collection)).collection.vectors
    except RemoteError as error:
        if error.code != ErrorCode.UNKNOWN_COLLECTION:
            raise
        return False
    wanted = {name: (size, distance) for name, size in dimensions.items()}
    return wanted.items() <= {name: (params.size, params.distance) for name, params in there.items()}.items()


async def measured(points: Any) -> tuple[Dimensions, Any]:
    """The dimensions of the first point's vectors by name, "" without one, and all of the points. Raises BadFile."""
    if isinstance(points, WirePoints):
        batches = iter(points.batches)
        batch = _there(next(batches, None))
        sizes = {
            field.name.removeprefix("vector").removeprefix("."): field.type.list_size
            for field in batch.schema
            if field.name.startswith("vector")
        }
        return sizes, WirePoints(itertools.chain([batch], batches))
    if isinstance(points, AsyncIterator):
        rows = cast("AsyncIterator[Row]", points)
        first = _there(await anext(rows, None))
        return _sizes(first), _chained(first, rows)
    first = _there(next(points, None))
    return _sizes(first), itertools.chain([first], points)


def _sizes(row: Row) -> Dimensions:
    vector = row[1]
    named = cast("dict[str, Any]", vector) if isinstance(vector, dict) else {"": vector}
    return {name: _size(each) for name, each in named.items()}


def _size(vector: Any) -> int:
    try:
        return flat_array(vector).size
    except ValueError as error:
        raise BadFile(f"the first point's vector: {error}") from None


def _there(first: Any) -> Any:
    if first is None:
        raise BadFile("there are no points in the file, so --create cannot know the dimensions")
    return first


async def _chained(first: Row, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    yield first
    async for row in rows:
        yield row
