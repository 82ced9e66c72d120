from functools import lru_cache
from typing import Any

from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc, payload_to_grpc
from qdrant_client.http import models

from memq_schemas import Filter
from memq_schemas.points import VERSION_KEY
from memq_worker.pipeline.store import Column, Id, PointsBatch


def point_id(value: Id) -> grpc.PointId:
    return grpc.PointId(num=value) if isinstance(value, int) else grpc.PointId(uuid=value)


def where(condition: Filter | None) -> grpc.Filter | None:
    if condition is None:
        return None
    fields = condition.model_dump(exclude_none=True, by_alias=True)
    return RestToGrpc.convert_filter(models.Filter.model_validate(fields))


def selector(ids: list[Id] | None, condition: Filter | None) -> grpc.PointsSelector:
    if ids is None:
        return grpc.PointsSelector(filter=where(condition))
    return grpc.PointsSelector(points=grpc.PointsIdsList(ids=[point_id(i) for i in ids]))


def upsert_request(collection: str, points: PointsBatch) -> Any:
    """An UpsertPoints with `wait`, built in place: a third of the CPU of making each point and copying it in.

    A vector's bytes are merged as the packed field they are on the wire, so no number becomes a Python float.
    """
    request: Any = grpc.UpsertPoints(collection_name=collection, wait=True)
    versions = points.versions
    unnamed = points.columns.get("") if len(points.columns) == 1 else None
    if unnamed is not None and versions is None:
        _add_plain(request, points, unnamed)
    else:
        _add_any(request, points)
    if versions is not None:
        request.update_filter.CopyFrom(newer_only(points.ids, versions))
    return request


def _add_plain(request: Any, points: PointsBatch, rows: Column) -> None:
    add = request.points.add
    for point, row, payload in zip(points.ids, rows, points.payloads, strict=True):
        message = add(payload=payload_to_grpc(payload)) if payload else add()
        if isinstance(point, int):
            message.id.num = point
        else:
            message.id.uuid = point
        assert row is not None
        message.vectors.vector.dense.MergeFromString(_prefix(len(row)) + row)


def _add_any(request: Any, points: PointsBatch) -> None:
    versions = points.versions or [None] * len(points)
    for index, point in enumerate(points.ids):
        payload = points.payloads[index]
        if versions[index] is not None:
            payload = {**(payload or {}), VERSION_KEY: versions[index]}
        message = request.points.add(payload=payload_to_grpc(payload)) if payload else request.points.add()
        message.id.CopyFrom(point_id(point))
        for name, column in points.columns.items():
            row = column[index]
            if row is None:
                continue
            vector = message.vectors.vectors.vectors[name] if name else message.vectors.vector
            vector.dense.MergeFromString(_prefix(len(row)) + row)


@lru_cache(maxsize=64)
def _prefix(size: int) -> bytes:
    # DenseVector.data as protobuf packs it: the field's tag, then the length in bytes as a varint.
    return grpc.DenseVector(data=[0.0] * (size // 4)).SerializeToString()[:-size]


def newer_only(ids: list[Id], versions: list[int | None]) -> grpc.Filter:
    """The condition under which a stored point is replaced: it has no version, or an older one.

    Qdrant inserts points that are not stored whatever the condition. Points without a version are always written.
    """
    shared = set(versions)
    if len(shared) == 1 and None not in shared:
        return grpc.Filter(should=_older(versions[0]))
    by_version: dict[int | None, list[grpc.PointId]] = {}
    for point, version in zip(ids, versions, strict=True):
        by_version.setdefault(version, []).append(point_id(point))
    arms: list[grpc.Condition] = []
    for version, group in by_version.items():
        if version is None:
            arms.append(grpc.Condition(has_id=grpc.HasIdCondition(has_id=group)))
        else:
            arms.append(_lower(group, version))
    return grpc.Filter(should=arms)


def older_than(versions: dict[Id, int]) -> grpc.Filter:
    """Those of the points that are stored without a version or with a lower one than is given for them."""
    by_version: dict[int, list[grpc.PointId]] = {}
    for point, version in versions.items():
        by_version.setdefault(version, []).append(point_id(point))
    return grpc.Filter(should=[_lower(group, version) for version, group in by_version.items()])


def _lower(group: list[grpc.PointId], version: int) -> grpc.Condition:
    mine = grpc.Condition(has_id=grpc.HasIdCondition(has_id=group))
    older = grpc.Condition(filter=grpc.Filter(should=_older(version)))
    return grpc.Condition(filter=grpc.Filter(must=[mine, older]))


def _older(version: int | None) -> list[grpc.Condition]:
    assert version is not None
    return [
        grpc.Condition(is_empty=grpc.IsEmptyCondition(key=VERSION_KEY)),
        grpc.Condition(field=grpc.FieldCondition(key=VERSION_KEY, range=grpc.Range(lt=version))),
    ]
