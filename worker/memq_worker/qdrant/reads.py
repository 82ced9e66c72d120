from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import pybase64

from memq_qdrant import grpc
from memq_schemas import ErrorCode, Get, Query
from memq_schemas.points import VERSION_KEY
from memq_schemas.vectors import to_base64
from memq_worker.errors import MessageError
from memq_worker.pipeline.store import Id
from memq_worker.qdrant import searches
from memq_worker.qdrant.filters import point_id, where
from memq_worker.qdrant.protobuf import field, tag
from memq_worker.qdrant.values import from_values

_QUERY = tag(grpc.QueryPoints(query=grpc.Query()))
_RARE = frozenset({"prefetch", "filter", "params", "lookup_from", "group_by"})


def query_request(collection: str, query: Query) -> Any:
    """A QueryPoints, or a QueryPointGroups for a query with `group_by`. Raises MessageError."""
    payload = query.with_payload if isinstance(query.with_payload, bool) else tuple(query.with_payload)
    common = (collection, query.using, query.score_threshold, query.limit, payload, bool(query.with_vector))
    vector = query.vector
    if isinstance(vector, np.ndarray) and vector.ndim == 1 and not query.model_fields_set & _RARE:
        # The most frequent kind. To build its messages one by one takes ten times as long.
        return grpc.QueryPoints.FromString(
            _without_vector(query.offset, *common) + field(_QUERY, searches.near(vector))
        )
    fields: dict[str, Any] = _fields(*common) | {
        "query": _query(query),
        "prefetch": _prefetches(query),
        "filter": where(query.filter),
        "params": searches.params_of(query.params),
        "lookup_from": searches.lookup_of(query.lookup_from),
    }
    if query.group_by is not None:
        return grpc.QueryPointGroups(group_by=query.group_by, group_size=query.group_size, **fields)
    return grpc.QueryPoints(offset=query.offset or None, **fields)


def _fields(
    collection: str,
    using: str | None,
    threshold: float | None,
    limit: int,
    payload: bool | tuple[str, ...],
    vectors: bool,
) -> dict[str, Any]:
    """Return the fields that every query has."""
    return {
        "collection_name": collection,
        "using": using,
        "score_threshold": threshold,
        "limit": limit,
        "with_payload": payload_selector(payload),
        "with_vectors": grpc.WithVectorsSelector(enable=vectors),
    }


@lru_cache(maxsize=256)
def _without_vector(offset: int, *common: Any) -> bytes:
    return grpc.QueryPoints(offset=offset or None, **_fields(*common)).SerializeToString()


def _query(query: Query) -> Any:
    if query.vector is not None:
        return grpc.Query(nearest=searches.vector_input(query.vector))
    with _broken_vector("query"):
        return searches.query_of(query.query)


def _prefetches(query: Query) -> list[Any]:
    with _broken_vector("prefetch"):
        return searches.prefetches_of(query.prefetch)


@contextmanager
def _broken_vector(place: str) -> Generator[None]:
    """Raise MessageError, naming the field, for a vector that is no base64."""
    try:
        yield
    except ValueError as error:
        raise MessageError(ErrorCode.INVALID_VECTOR, f"{place}: {error}", stage="validate") from None


def get_request(collection: str, get: Get, ids: Sequence[Id]) -> Any:
    """Ask for some of the ids of `get`."""
    return grpc.GetPoints(
        collection_name=collection,
        ids=[point_id(i) for i in ids],
        with_payload=payload_selector(get.with_payload),
        with_vectors=grpc.WithVectorsSelector(enable=bool(get.with_vector)),
    )


def payload_selector(wanted: bool | Sequence[str]) -> Any:
    if isinstance(wanted, bool):
        return grpc.WithPayloadSelector(enable=wanted)
    return grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=wanted))


def record(point: Any, with_payload: bool | list[str], with_vector: bool | str) -> dict[str, Any]:
    """A stored point as the reply says it; what was not asked for is absent."""
    result: dict[str, Any] = {"id": id_of(point.id)}
    if with_payload is not False:
        payload = result["payload"] = from_values(point.payload)
        version = payload.get(VERSION_KEY)
        # Anything else under that key was written by somebody else, and is an ordinary payload value.
        if type(version) is int and version >= 0:
            result["version"] = payload.pop(VERSION_KEY)
    if with_vector:
        result["vector"] = _vectors(point.vectors, with_vector == "base64")
    return result


def scored(point: Any, query: Query) -> dict[str, Any]:
    result = record(point, query.with_payload, query.with_vector)
    result["score"] = point.score
    if point.HasField("order_value"):
        result["order_value"] = getattr(point.order_value, point.order_value.WhichOneof("variant"))
    return result


def group_key(group: Any) -> str | int:
    """The payload value that a group's hits have in common."""
    return getattr(group.id, group.id.WhichOneof("kind"))


def id_of(point: Any) -> Id:
    # The field that is not set is empty: WhichOneof would take three times as long.
    return point.num or point.uuid or 0


def _vectors(vectors: Any, as_text: bool) -> Any:
    if vectors.WhichOneof("vectors_options") == "vectors":
        return {name: _vector(vector, as_text) for name, vector in vectors.vectors.vectors.items()}
    return _vector(vectors.vector, as_text)


def _vector(vector: Any, as_text: bool) -> Any:
    """One vector as the wire has it: numbers or base64, indices with values, or rows."""
    match vector.WhichOneof("vector"):
        case "sparse":
            indices, values = vector.sparse.indices, vector.sparse.values
            if as_text:
                packed = np.asarray(indices, dtype="<u4").tobytes()
                return {"indices": pybase64.b64encode(packed).decode("ascii"), "values": to_base64(values)}
            return {"indices": list(indices), "values": list(values)}
        case "multi_dense":
            return [_dense(row, as_text) for row in vector.multi_dense.vectors]
        case "dense":
            return _dense(vector.dense, as_text)
        case _:
            # Servers before 1.16 fill only the older field.
            return to_base64(vector.data) if as_text else list(vector.data)


def _dense(vector: Any, as_text: bool) -> Any:
    numbers = vector.data
    if not as_text or not numbers:
        return list(numbers)
    # Packed floats are the end of the encoded message, and on the wire as they are in base64. As Python's floats they
    # would take fifty times as long.
    return pybase64.b64encode(vector.SerializeToString()[-4 * len(numbers) :]).decode("ascii")
