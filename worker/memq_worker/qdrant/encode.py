from collections.abc import Iterable

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
    Said as what must not be, it needs neither a case for no version nor a filter for each, and costs half.
    """
    shared = set(versions)
    if len(shared) == 1 and None not in shared:
        return grpc.Filter(must_not=[_reached(versions[0])])
    return grpc.Filter(must_not=_groups(zip(ids, versions, strict=True)))


def older_than(versions: dict[Id, int]) -> grpc.Filter:
    """Those of the points that are stored without a version or with a lower one than is given for them."""
    chosen = grpc.HasIdCondition(has_id=[point_id(point) for point in versions])
    return grpc.Filter(must=[grpc.Condition(has_id=chosen)], must_not=_groups(versions.items()))


def _groups(versions: Iterable[tuple[Id, int | None]]) -> list[grpc.Condition]:
    """For each version: one of its points, stored with it or a higher one."""
    by_version: dict[int, list[grpc.PointId]] = {}
    for point, version in versions:
        if version is not None:
            by_version.setdefault(version, []).append(point_id(point))
    return [
        grpc.Condition(
            filter=grpc.Filter(
                must=[grpc.Condition(has_id=grpc.HasIdCondition(has_id=group)), _reached(version)],
            )
        )
        for version, group in by_version.items()
    ]


def _reached(version: int | None) -> grpc.Condition:
    return grpc.Condition(field=grpc.FieldCondition(key=VERSION_KEY, range=grpc.Range(gte=version)))
