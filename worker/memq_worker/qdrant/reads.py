from collections.abc import Sequence
from typing import Any

import numpy as np
import pybase64
from qdrant_client import grpc

from memq_schemas import Get, Query
from memq_schemas.points import VERSION_KEY
from memq_schemas.vectors import to_array, to_base64
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
        with_payload=payload_selector(query.with_payload),
        with_vectors=grpc.WithVectorsSelector(enable=bool(query.with_vector)),
    )


def get_request(collection: str, get: Get, ids: Sequence[Id]) -> Any:
    """Ask for some of the ids of `get`."""
    return grpc.GetPoints(
        collection_name=collection,
        ids=[point_id(i) for i in ids],
        with_payload=payload_selector(get.with_payload),
        with_vectors=grpc.WithVectorsSelector(enable=bool(get.with_vector)),
    )


def payload_selector(wanted: bool | list[str]) -> Any:
    if isinstance(wanted, bool):
        return grpc.WithPayloadSelector(enable=wanted)
    return grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=wanted))


def record(point: Any, with_payload: bool | list[str], with_vector: bool | str) -> dict[str, Any]:
    """A stored point as the reply says it; what was not asked for is absent."""
    result: dict[str, Any] = {"id": id_of(point.id)}
    if with_payload is not False:
        payload = {key: _value(value) for key, value in point.payload.items()}
        version = payload.get(VERSION_KEY)
        if type(version) is int and version >= 0:
            result["version"] = payload.pop(VERSION_KEY)
        # Anything else under that key was written by somebody else, and is an ordinary payload value.
        result["payload"] = payload
    if with_vector:
        result["vector"] = _vectors(point.vectors, with_vector == "base64")
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
                return {"indices": pybase64.b64encode(packed).decode("ascii"), "values": _dense(values, as_text=True)}
            return {"indices": list(indices), "values": list(values)}
        case "multi_dense":
            return [_dense(row.data, as_text) for row in vector.multi_dense.vectors]
        case "dense":
            return _dense(vector.dense.data, as_text)
        case _:
            # Servers before 1.16 fill only the older field.
            return _dense(vector.data, as_text)


def _dense(numbers: Any, as_text: bool) -> Any:
    return to_base64(numbers) if as_text else list(numbers)
