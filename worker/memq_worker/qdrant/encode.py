from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Any

from memq_qdrant import grpc
from memq_schemas import Filter
from memq_schemas.points import VERSION_KEY
from memq_worker.pipeline.store import Id
from memq_worker.qdrant.filters import point_id, where

_UUID_LENGTH = 36
_DOUBLE = Struct("<d")


def selector(ids: list[Id] | None, condition: Filter | None) -> grpc.PointsSelector:
    if ids is None:
        return grpc.PointsSelector(filter=where(condition))
    return grpc.PointsSelector(points=grpc.PointsIdsList(ids=[point_id(i) for i in ids]))


def newer_only(ids: list[Id], versions: list[int | None]) -> bytes:
    """The Filter, encoded, under which a stored point is replaced: it has no version, or an older one.

    Qdrant inserts points that are not stored whatever the condition. Points without a version are always written.
    Said as what must not be, it needs neither a case for no version nor a filter for each, and costs half.
    """
    shared = set(versions)
    if len(shared) == 1 and None not in shared:
        return grpc.Filter(must_not=[_reached(versions[0])]).SerializeToString()
    return _groups(zip(ids, versions, strict=True))


def not_newer(ids: list[Id], versions: list[int | None]) -> bytes:
    """The Filter, encoded, that holds for points stored without a version or with at most the given one."""
    condition: Any = grpc.Filter()
    for point, version in zip(ids, versions, strict=True):
        if version is not None:
            chosen = grpc.Condition(has_id=grpc.HasIdCondition(has_id=[point_id(point)]))
            higher = grpc.Condition(field=grpc.FieldCondition(key=VERSION_KEY, range=grpc.Range(gt=version)))
            both = grpc.Filter(must=[chosen, higher])
            condition.must_not.append(grpc.Condition(filter=both))
    return condition.SerializeToString()


def older_than(versions: dict[Id, int]) -> grpc.Filter:
    """Select the points that are stored without a version or with a lower one than given."""
    chosen = grpc.HasIdCondition(has_id=[point_id(point) for point in versions])
    condition: Any = grpc.Filter(must=[grpc.Condition(has_id=chosen)])
    condition.MergeFromString(_groups(versions.items()))
    return condition


def _groups(versions: Iterable[tuple[Id, int | None]]) -> bytes:
    """A Filter, encoded: not, for any version, one of its points stored with it or a higher one."""
    by_version: dict[int, list[Id]] = {}
    for point, version in versions:
        if version is not None:
            by_version.setdefault(version, []).append(point)
    head, middle = _uuid_group()
    parts: list[bytes] = []
    for version, group in by_version.items():
        first = group[0]
        if len(group) == 1 and isinstance(first, str) and len(first) == _UUID_LENGTH:
            parts += (head, first.encode(), middle, _DOUBLE.pack(version))
        else:
            parts.append(_group(group, version))
    return b"".join(parts)


def _group(points: list[Id], version: int) -> bytes:
    chosen = grpc.Condition(has_id=grpc.HasIdCondition(has_id=[point_id(point) for point in points]))
    both = grpc.Filter(must=[chosen, _reached(version)])
    return grpc.Filter(must_not=[grpc.Condition(filter=both)]).SerializeToString()


@lru_cache(maxsize=1)
def _uuid_group() -> tuple[bytes, bytes]:
    """The group of one UUID before and after it; the version follows. As messages it is ten times as dear to build."""
    sample = "0" * _UUID_LENGTH
    head, _, rest = _group([sample], 1).partition(sample.encode())
    return head, rest.removesuffix(_DOUBLE.pack(1))


def _reached(version: int | None) -> grpc.Condition:
    return grpc.Condition(field=grpc.FieldCondition(key=VERSION_KEY, range=grpc.Range(gte=version)))
