"""Dimensions of the first point, which `memq upsert --create` needs before it sends."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from memq.encode.arrow import WirePoints
from memq.encode.arrow.vector_kinds import is_multi
from memq.encode.arrow.vector_kinds import is_sparse as is_sparse_column
from memq.encode.vectors import flat_array, has_rows
from memq.errors import RemoteError
from memq_cli.output import notice
from memq_cli.sources import BadFile
from memq_schemas import ErrorCode
from memq_schemas.point_vectors import is_sparse

if TYPE_CHECKING:
    from memq.encode.column_names import Row
    from memq.producer import Producer
    from memq_schemas import Distance


class Shape(NamedTuple):
    """Dimensions of a vector, or of the rows of a multivector; None for a sparse vector."""

    size: int | None
    multi: bool = False

    def __str__(self) -> str:
        return "sparse" if self.size is None else f"{self.size} dimensions{' a row' if self.multi else ''}"


Dimensions: TypeAlias = dict[str, Shape]


async def create(producer: Producer, collection: str, distance: Distance, dimensions: Dimensions) -> bool:
    """Make the collection if it is missing; return True if it was. One that takes these vectors is left as it is."""
    if await _takes(producer, collection, distance, dimensions):
        return False
    vectors: dict[str, Any] = {
        name: {"size": shape.size, "distance": distance} | ({"multivector_config": {}} if shape.multi else {})
        for name, shape in dimensions.items()
        if shape.size is not None
    }
    sparse: dict[str, Any] = {name: {} for name, shape in dimensions.items() if shape.size is None}
    alone = dimensions.get("")
    if vectors.keys() == {""} and alone is not None and not alone.multi:
        answer = await producer.collections.create(
            collection, alone.size, distance, sparse_vectors=sparse or None, exist_ok=True
        )
    else:
        answer = await producer.collections.create(
            collection, vectors=vectors or None, sparse_vectors=sparse or None, exist_ok=True
        )
    if answer.created:
        summary = ", ".join(f"{name} {shape}".strip() for name, shape in dimensions.items())
        notice(f"memq: created collection {collection} ({summary}, {distance})")
    return answer.created


async def _takes(producer: Producer, collection: str, distance: Distance, dimensions: Dimensions) -> bool:
    try:
        there = (await producer.collections.describe(collection)).collection
    except RemoteError as error:
        if error.code != ErrorCode.UNKNOWN_COLLECTION:
            raise
        return False
    known = {
        name: (Shape(each.size, bool(each.multivector_config)), each.distance) for name, each in there.vectors.items()
    }
    known |= {name: (Shape(None), distance) for name in there.sparse_vectors}
    return {name: (shape, distance) for name, shape in dimensions.items()}.items() <= known.items()


async def measured(points: Any) -> tuple[Dimensions, Any]:
    """The shapes of the first point's vectors by name, "" without one, and all of the points. Raises BadFile."""
    if isinstance(points, WirePoints):
        batches = iter(points.batches)
        batch = _there(next(batches, None))
        shapes = {
            field.name.removeprefix("vector").removeprefix("."): _column_shape(field.type)
            for field in batch.schema
            if field.name.startswith("vector")
        }
        return shapes, WirePoints(itertools.chain([batch], batches))
    if isinstance(points, AsyncIterator):
        rows = cast("AsyncIterator[Row]", points)
        first = _there(await anext(rows, None))
        return _shapes(first), _chained(first, rows)
    first = _there(next(points, None))
    return _shapes(first), itertools.chain([first], points)


def _column_shape(kind: Any) -> Shape:
    if is_sparse_column(kind):
        return Shape(None)
    return Shape(kind.value_type.list_size, multi=True) if is_multi(kind) else Shape(kind.list_size)


def _shapes(row: Row) -> Dimensions:
    vector = row[1]
    if isinstance(vector, dict) and not is_sparse(vector):
        return {name: _shape(each) for name, each in cast("dict[str, Any]", vector).items()}
    return {"": _shape(vector)}


def _shape(vector: Any) -> Shape:
    if isinstance(vector, dict):
        return Shape(None)
    try:
        if has_rows(vector):
            return Shape(flat_array(vector[0]).size, multi=True)
        return Shape(flat_array(vector).size)
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
