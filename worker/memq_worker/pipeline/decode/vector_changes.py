"""Bodies of `vectors.<collection>`."""

import re

import msgspec

from memq_schemas import ErrorCode
from memq_schemas.limits import max_vectors
from memq_schemas.vector_changes import TWICE
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.checks import check_count, check_unique
from memq_worker.pipeline.decode.points import UNREADABLE, check_id, unreadable, versions_of
from memq_worker.pipeline.decode.vectors import AnyVectors, check_columns, columns_of, count_keys
from memq_worker.pipeline.store import PointsBatch

_Null = msgspec.UnsetType | None


class _PointVectors(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: int | str
    vector: AnyVectors
    version: int | msgspec.UnsetType | None = msgspec.UNSET
    payload: _Null = msgspec.UNSET


class _Replacement(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    points: list[_PointVectors]
    ids: _Null = msgspec.UNSET
    filter: _Null = msgspec.UNSET
    remove: _Null = msgspec.UNSET
    mode: _Null = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Replacement)
# A key "points" is nowhere else in a body that is right.
_POINTS = re.compile(rb'"points"[ \t\r\n]*:[ \t\r\n]*[^n \t\r\n]')


def replaces(body: bytes) -> bool:
    """Return True for a body with points, whose vectors are to be replaced."""
    return _POINTS.search(body) is not None


def decode_replacement(body: bytes, max_points: int) -> PointsBatch:
    """The points of a body with new vectors. Raises MessageError naming the first bad point by index."""
    try:
        change = _decoder.decode(body)
    except UNREADABLE as error:
        raise unreadable(error, body) from None
    points = change.points
    check_count(len(points), max_points)
    ids = [check_id(point.id, index) for index, point in enumerate(points)]
    others = (change.ids, change.filter, change.remove, change.mode)
    keys = 1 + sum(other is not msgspec.UNSET for other in others)
    for point in points:
        keys += (
            2 + count_keys(point.vector) + (point.version is not msgspec.UNSET) + (point.payload is not msgspec.UNSET)
        )
    check_unique(body, keys)
    columns = columns_of([point.vector for point in points], max_vectors(len(body)))
    check_columns(columns)
    versions = versions_of([point.version for point in points])
    return _checked(PointsBatch(ids, columns, [None] * len(ids), versions))


def decode_arrow_replacement(body: bytes, max_points: int) -> PointsBatch:
    """The same of an Arrow IPC stream, which has no payloads."""
    points = decode_arrow(body, max_points)
    if any(payload is not None for payload in points.payloads):
        raise _invalid("payload: not a column of new vectors; payload.<collection> changes payloads")
    if points.mode != "upsert":
        raise _invalid("mode: only in an upsert; vectors.<collection> changes stored points alone")
    return _checked(points)


def _checked(points: PointsBatch) -> PointsBatch:
    if not points.ids:
        raise MessageError(ErrorCode.EMPTY_BATCH, "points: at least one is needed", stage="validate")
    if len(set(points.ids)) == len(points.ids):
        return points
    seen: set[int | str] = set()
    for index, point in enumerate(points.ids):
        if point in seen:
            raise _invalid(f"points[{index}].id: {TWICE}")
        seen.add(point)
    return points


def _invalid(message: str) -> MessageError:
    return MessageError(ErrorCode.INVALID, message, stage="validate")
