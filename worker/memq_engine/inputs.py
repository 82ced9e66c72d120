"""The vectors and point ids that a query starts from."""

from collections.abc import Iterable
from typing import Any

from .collection import Collection
from .convert.documents import embed_query
from .convert.ids import read_id
from .convert.vectors import floats, rows, sparse
from .engine import Engine
from .refusal import invalid, not_found


class Inputs:
    """Vectors of one query or prefetch: where stored ones are looked up, and which points the result leaves out."""

    def __init__(self, engine: Engine, collection: Collection, request: Any) -> None:
        self._collection = collection
        self._using: str = request.using
        self._elsewhere = request.HasField("lookup_from")
        self._source = collection
        self._source_name = self._using
        if self._elsewhere:
            place = request.lookup_from
            if not engine.has(place.collection_name):
                raise not_found(f"Collection {place.collection_name} not found")
            self._source = engine.collection(place.collection_name)
            self._source_name = place.vector_name if place.HasField("vector_name") else self._using
        self.used: set[int | str] = set()
        self.last: Any = None

    @property
    def using(self) -> str:
        return self._using

    def vector(self, message: Any) -> Any:
        """Return the engine's form of a VectorInput. Raises Refused."""
        match message.WhichOneof("variant"):
            case "id":
                identifier = read_id(message.id)
                if not self._elsewhere:
                    self.used.add(identifier)
                value = self._source.vector_of(identifier, self._source_name)
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

    def vectors(self, inputs: Iterable[Any]) -> list[Any]:
        return [self.vector(each) for each in inputs]
