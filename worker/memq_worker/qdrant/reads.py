from collections.abc import Sequence
from typing import Any

from qdrant_client import grpc

from memq_schemas import Get, Query
from memq_schemas.points import VERSION_KEY
from memq_schemas.vectors import to_array
from memq_worker.pipeline.store import Id
from memq_worker.qdrant.encode import point_id, where


def query_request(collection: str, query: Query) -> Any:
    dense = grpc.DenseVector()
    values = to_array(query.vector)
    dense.data.extend(values.tolist())
    return grpc.QueryPoints(
        collection_name=collection,
        query=grpc.Query(nearest=grpc.VectorInput(dense=dense)),
        using=query.using,
        filter=where(query.filter),
        score_threshold=query.score_threshold,
        limit=query.limit,
        offset=query.offset or None,
        with_payload=_payload_selector(query.with_payload),
        with_vectors=grpc.WithVectorsSelector(enable=query.with_vector),
    )


def get_request(collection: str, get: Get, ids: Sequence[Id]) -> Any:
    """Ask for some of the ids of `get`."""
    return grpc.GetPoints(
        collection_name=collection,
        ids=[point_id(i) for i in ids],
        with_payload=_payload_selector(get.with_payload),
        with_vectors=grpc.WithVectorsSelector(enable=get.with_vector),
    )


def _payload_selector(wanted: bool | list[str]) -> Any:
    if isinstance(wanted, bool):
        return grpc.WithPayloadSelector(enable=wanted)
    return grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=wanted))


def record(point: Any, with_payload: bool | list[str], with_vector: bool) -> dict[str, Any]:
    """A stored point as the reply says it; what was not asked for is absent."""
    result: dict[str, Any] = {"id": id_of(point.id)}
    if with_payload is not False:
        payload = {key: _value(value) for key, value in point.payload.items()}
        version = payload.pop(VERSION_KEY, None)
        if version is not None:
            result["version"] = version
        result["payload"] = payload
    if with_vector:
        result["vector"] = _vectors(point.vectors)
    return result


def scored(point: Any, query: Query) -> dict[str, Any]:
    result = record(point, query.with_payload, query.with_vector)
    result["score"] = point.score
    return result


def id_of(point: Any) -> Id:
    return point.num if point.WhichOneof("point_id_options") == "num" else point.uuid


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _value(inner) for key, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_value(inner) for inner in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def _vectors(vectors: Any) -> list[float] | dict[str, list[float]]:
    if vectors.WhichOneof("vectors_options") == "vectors":
        return {name: _dense(vector) for name, vector in vectors.vectors.vectors.items()}
    return _dense(vectors.vector)


def _dense(vector: Any) -> list[float]:
    # Servers before 1.16 fill only the older field.
    return list(vector.dense.data if vector.WhichOneof("vector") == "dense" else vector.data)
