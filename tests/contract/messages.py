"""Short ways to say Qdrant's protobuf messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL_PAYLOAD = q.WithPayloadSelector(enable=True)
ALL_VECTORS = q.WithVectorsSelector(enable=True)


def point_id(key: int | str) -> Any:
    return q.PointId(num=key) if isinstance(key, int) else q.PointId(uuid=key)


def dense(*values: float) -> Any:
    return q.Vectors(vector=q.Vector(dense=q.DenseVector(data=values)))


def named(**vectors: Sequence[float]) -> Any:
    each = {name: q.Vector(dense=q.DenseVector(data=values)) for name, values in vectors.items()}
    return q.Vectors(vectors=q.NamedVectors(vectors=each))


def point(key: int | str, vectors: Any, **payload: Any) -> Any:
    return q.PointStruct(id=point_id(key), vectors=vectors, payload=payload_to_grpc(payload))


def near(*values: float) -> Any:
    return q.Query(nearest=q.VectorInput(dense=q.DenseVector(data=values)))


def near_id(key: int | str) -> Any:
    return q.Query(nearest=q.VectorInput(id=point_id(key)))


def match(key: str, **how: Any) -> Any:
    return q.Condition(field=q.FieldCondition(key=key, match=q.Match(**how)))


def between(key: str, **bounds: float) -> Any:
    return q.Condition(field=q.FieldCondition(key=key, range=q.Range(**bounds)))


def is_empty(key: str) -> Any:
    return q.Condition(is_empty=q.IsEmptyCondition(key=key))


def has_id(*keys: int | str) -> Any:
    return q.Condition(has_id=q.HasIdCondition(has_id=[point_id(key) for key in keys]))


def must(*conditions: Any) -> Any:
    return q.Filter(must=conditions)


def these(*keys: int | str) -> Any:
    return q.PointsSelector(points=q.PointsIdsList(ids=[point_id(key) for key in keys]))


def matching(found: Any) -> Any:
    return q.PointsSelector(filter=found)


def single_vector(size: int, distance: Any = q.Distance.Cosine) -> Any:
    return q.VectorsConfig(params=q.VectorParams(size=size, distance=distance))


def vector_map(**sizes: tuple[int, Any]) -> Any:
    each = {name: q.VectorParams(size=size, distance=distance) for name, (size, distance) in sizes.items()}
    return q.VectorsConfig(params_map=q.VectorParamsMap(map=each))
