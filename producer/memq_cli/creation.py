"""What `memq upsert --create` has to know before it sends anything: the dimensions of the first point."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from memq.encode.arrow import WirePoints
from memq.encode.vectors import flat_array
from memq_cli.output import notice
from memq_cli.sources import BadFile

if TYPE_CHECKING:
    from memq.encode.column_names import Row
    from memq.producer import Producer
    from memq_schemas import Distance


async def create(producer: Producer, collection: str, distance: Distance, points: Any) -> tuple[Any, bool]:
    """All of the points again, and whether there was no such collection. Raises BadFile."""
    dimensions, points = await _measured(points)
    if "vector" in dimensions:
        answer = await producer.collections.create(collection, dimensions["vector"], distance, exist_ok=True)
    else:
        vectors = {
            name.removeprefix("vector."): {"size": size, "distance": distance} for name, size in dimensions.items()
        }
        answer = await producer.collections.create(collection, vectors=vectors, exist_ok=True)
    if answer.created:
        told = ", ".join(
            f"{name.removeprefix('vector').lstrip('.')} {size}".strip() for name, size in dimensions.items()
        )
        notice(f"memq: created collection {collection} ({told} dimensions, {distance})")
    return points, answer.created


async def _measured(points: Any) -> tuple[dict[str, int], Any]:
    if isinstance(points, WirePoints):
        batches = iter(points.batches)
        batch = _there(next(batches, None))
        sizes = {field.name: field.type.list_size for field in batch.schema if field.name.startswith("vector")}
        return sizes, WirePoints(itertools.chain([batch], batches))
    if isinstance(points, AsyncIterator):
        rows = cast("AsyncIterator[Row]", points)
        first = _there(await anext(rows, None))
        return {"vector": _size(first)}, _chained(first, rows)
    first = _there(next(points, None))
    return {"vector": _size(first)}, itertools.chain([first], points)


def _size(row: Row) -> int:
    try:
        return flat_array(row[1]).size
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
