from collections.abc import Iterator
from typing import Any

from memq_qdrant import grpc
from memq_schemas import ErrorCode, SetPayload
from memq_schemas.points import VERSION_KEY
from memq_worker.errors import MessageError
from memq_worker.qdrant.filters import point_id, where
from memq_worker.qdrant.reads import id_of
from memq_worker.qdrant.values import to_values

# Qdrant does the operations of one request one by one, and each carries the whole payload.
_MAX_OPERATIONS = 100
_MAX_BYTES = 4 * 2**20
PAGE = 1000


def preserved_request(collection: str, change: SetPayload, preserved: tuple[str, ...], offset: Any, limit: int) -> Any:
    """Ask for a page of at most `limit` chosen points, with only their id, version and `preserved` keys."""
    chosen = where(change.filter)
    if change.ids is not None:
        ids = grpc.HasIdCondition(has_id=[point_id(i) for i in change.ids])
        chosen = grpc.Filter(must=[grpc.Condition(has_id=ids)])
    return grpc.ScrollPoints(
        collection_name=collection,
        filter=chosen,
        offset=offset,
        limit=limit,
        with_payload=grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=[VERSION_KEY, *preserved])),
        with_vectors=grpc.WithVectorsSelector(enable=False),
    )


def check_all_found(change: SetPayload, found: list[Any]) -> None:
    """Raises MessageError for the first of the ids that is not stored, before anything is changed."""
    stored = {id_of(point.id) for point in found}
    for index, wanted in enumerate(change.ids or ()):
        if wanted not in stored:
            raise MessageError(ErrorCode.UNKNOWN_POINT, f"ids[{index}]: no such point")


def overwrite_requests(
    collection: str, payload: dict[str, Any], preserved: tuple[str, ...], found: Any
) -> Iterator[Any]:
    """Replace the payload of the `found` points, except their versions and `preserved` keys, which are part of it.

    Each point's version is checked again: a point with a newer version was upserted in the meantime and must keep its
    payload.
    """
    alike: dict[tuple[Any, ...], list[Any]] = {}
    for point in found:
        values = tuple(_scalar(point.payload.get(key)) for key in preserved)
        alike.setdefault((_version(point.payload.get(VERSION_KEY)), *values), []).append(point.id)
    operations: list[Any] = []
    size = 0
    for (version, *values), ids in alike.items():
        own = {key: value for key, value in zip(preserved, values, strict=True) if value is not None}
        operation = _operation(payload | own, version, ids)
        operations.append(operation)
        size += operation.ByteSize()
        if len(operations) >= _MAX_OPERATIONS or size >= _MAX_BYTES:
            yield grpc.UpdateBatchPoints(collection_name=collection, wait=True, operations=operations)
            operations, size = [], 0
    if operations:
        yield grpc.UpdateBatchPoints(collection_name=collection, wait=True, operations=operations)


_FOREIGN = "foreign"
_SEVERAL = "several"


def _version(stored: Any) -> int | float | str | None:
    """The version of a point: a number, None for none, or _FOREIGN or _SEVERAL for a value that is no version."""
    if stored is None or (kind := stored.WhichOneof("kind")) in (None, "null_value"):
        return None
    if kind == "list_value" and stored.list_value.values:
        # A condition on a list asks for any of its values, so a list of one cannot be told from its value.
        values = stored.list_value.values
        return _SEVERAL if len(values) > 1 else _version(values[0])
    return getattr(stored, kind) if kind in ("integer_value", "double_value") else _FOREIGN


def _scalar(stored: Any) -> Any:
    """A stored text or integer; None for anything else."""
    kind = None if stored is None else stored.WhichOneof("kind")
    return getattr(stored, kind) if kind in ("string_value", "integer_value") else None


def _exactly(version: Any) -> dict[str, Any]:
    return {"range": grpc.Range(gte=version, lte=version)}


def _operation(payload: dict[str, Any], version: int | float | str | None, ids: list[Any]) -> Any:
    mine = grpc.Condition(has_id=grpc.HasIdCondition(has_id=ids))
    if version is None:
        same = grpc.Condition(is_empty=grpc.IsEmptyCondition(key=VERSION_KEY))
        preserved = payload
    elif version == _SEVERAL:
        several = grpc.FieldCondition(key=VERSION_KEY, values_count=grpc.ValuesCount(gte=2))
        same = grpc.Condition(field=several)
        preserved = payload
    elif version == _FOREIGN:
        versioned = grpc.Condition(field=grpc.FieldCondition(key=VERSION_KEY, range=grpc.Range(gte=0)))
        same = grpc.Condition(filter=grpc.Filter(must_not=[versioned]))
        preserved = payload
    else:
        match: Any = {"match": grpc.Match(integer=version)} if isinstance(version, int) else _exactly(version)
        same = grpc.Condition(field=grpc.FieldCondition(key=VERSION_KEY, **match))
        preserved = {**payload, VERSION_KEY: version}
    chosen = grpc.PointsSelector(filter=grpc.Filter(must=[mine, same]))
    change = grpc.PointsUpdateOperation.OverwritePayload(payload=to_values(preserved), points_selector=chosen)
    return grpc.PointsUpdateOperation(overwrite_payload=change)
