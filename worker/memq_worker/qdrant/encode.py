from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models

from memq_schemas import Filter
from memq_schemas.points import VERSION_KEY
from memq_worker.pipeline.store import Id


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
