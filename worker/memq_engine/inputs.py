"""The vectors and point ids that a query starts from."""

from collections.abc import Iterable, Iterator
from typing import Any

from .collection import Collection
from .convert.documents import embed_query
from .convert.ids import read_id
from .convert.vectors import floats, rows, sparse
from .engine import Engine
from .refusal import invalid, not_found

# Variants of a Query that may name points.
_NEAR_POINTS = ("nearest", "recommend", "discover", "context", "relevance_feedback", "nearest_with_mmr")


def named_points(engine: Engine, collection: Collection, request: Any) -> set[int | str]:
    """Ids of this collection that the query or any of its prefetches starts from.

    No query of the whole request finds these points, as on a server.
    """
    found: set[int | str] = set()
    messages = [request]
    while messages:
        message = messages.pop()
        messages.extend(message.prefetch)
        kind = message.query.WhichOneof("variant")
        if kind in _NEAR_POINTS and not _is_elsewhere(engine, collection, message):
            found.update(_ids(message.query))
    return found


def _is_elsewhere(engine: Engine, collection: Collection, message: Any) -> bool:
    """Return True if ids in the query are those of points in another collection."""
    if not message.HasField("lookup_from"):
        return False
    name = message.lookup_from.collection_name
    return not engine.has(name) or engine.collection(name) is not collection


def _ids(message: Any) -> Iterator[int | str]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in (value,) if hasattr(value, "ListFields") else value:
            if field.message_type.name != "VectorInput":
                yield from _ids(each)
            elif each.WhichOneof("variant") == "id":
                yield read_id(each.id)


class Inputs:
    """Vectors of one query or prefetch, and where stored ones are looked up."""

    def __init__(self, engine: Engine, collection: Collection, request: Any) -> None:
        self._engine = engine
        self._collection = collection
        self._using: str = request.using
        self._place = request.lookup_from if request.HasField("lookup_from") else None
        self.last: Any = None

    @property
    def using(self) -> str:
        return self._using

    def vector(self, message: Any) -> Any:
        """Return the engine's form of a VectorInput. Raises Refused."""
        match message.WhichOneof("variant"):
            case "id":
                value = self._stored(message.id)
                if value is None:
                    raise not_found(f'Vector with name "{self._stored_name}" for point not found')
            case "dense":
                value = floats(message.dense)
            case "sparse":
                value = sparse(message.sparse.indices, message.sparse.values, "query.variant.variant")
            case "multi_dense":
                value = rows(message.multi_dense.vectors, "query.variant.variant")
            case "document":
                value = embed_query(message.document)
            case None:
                raise invalid("VectorInput variant is missing")
            case other:
                raise invalid(f"Vectors of kind {other} need an inference service")
        self.last = self._collection.vectors.fitted(self._using, value, querying=True)
        return self.last

    def examples(self, inputs: Iterable[Any]) -> list[Any]:
        """Return the vectors of some VectorInputs. Points without this vector are left out, as a server does."""
        return [
            self.vector(each)
            for each in inputs
            if each.WhichOneof("variant") != "id" or self._stored(each.id) is not None
        ]

    @property
    def _stored_name(self) -> str:
        place = self._place
        return place.vector_name if place is not None and place.HasField("vector_name") else self._using

    def _stored(self, point: Any) -> Any:
        """Return the vector of a stored point; None if it has none of this name. Raises Refused."""
        source = self._collection
        if self._place is not None:
            if not self._engine.has(self._place.collection_name):
                raise not_found(f"Collection {self._place.collection_name} not found")
            source = self._engine.collection(self._place.collection_name)
        return source.vector_of(read_id(point), self._stored_name)
