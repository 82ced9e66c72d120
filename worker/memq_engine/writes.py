"""The write half of qdrant.Points: a request in, its answer out."""

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from .collection import Collection
from .convert.bounds import Bounds, read_bounds
from .convert.filters import read_filter, read_optional_filter
from .convert.ids import read_id, read_ids
from .convert.indexes import read_schema
from .convert.points import UPDATE_MODES, read_points
from .convert.values import read_payload
from .engine import Engine
from .proto import UpsertView, messages
from .refusal import Refused, StatusCode, from_engine, invalid, invalid_field, unserved

_Operation = edge.UpdateOperation
_COMPLETED = messages.UpdateStatus.Value("Completed")
_ORDERINGS = messages.WriteOrderingType.values()
_ACKNOWLEDGED = messages.UpdateStatus.Value("Acknowledged")


def _apply(collection: Collection, operation: edge.UpdateOperation, wait: bool) -> Any:
    """Applied before it is answered either way; without `wait` a server reports a missing point to its log alone."""
    try:
        collection.update(operation)
    except Refused as refused:
        if wait or refused.code != StatusCode.NOT_FOUND:
            raise
    return messages.UpdateResult(status=_COMPLETED if wait else _ACKNOWLEDGED)


def _empty() -> Refused:
    return invalid("Bad request: Empty update request")


def upsert(collection: Collection, request: Any, wait: bool) -> Any:
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    points = read_points(request.points, collection.vectors)
    if not points:
        raise _empty()
    mode = UPDATE_MODES.get(request.update_mode)
    bounds = read_bounds(request.update_filter) if mode is None else None
    reached = None if bounds is None else _reached(collection, bounds)
    if reached is None:
        condition = read_optional_filter(request, "update_filter")
        return _apply(collection, _Operation.upsert_points(points, condition, mode), wait)
    if reached:
        points = [point for point in points if _spelled(point.id) not in reached]
    if not points:
        return messages.UpdateResult(status=_COMPLETED if wait else _ACKNOWLEDGED)
    return _apply(collection, _Operation.upsert_points(points), wait)


def _reached(collection: Collection, bounds: Bounds) -> set[int | str] | None:
    """The ids that are stored with their bound or more; None if a stored value is for the engine's filter to judge.

    Nothing else runs between this and the write, which then names the points it is about, as a server of 1.19 logs it.
    """
    reached: set[int | str] = set()
    for record in collection.retrieve(list(bounds.by_id), [bounds.key], False):
        stored: Any = (record.payload or {}).get(bounds.key)
        if stored is None:
            continue
        if type(stored) not in (int, float):
            return None
        identifier = _spelled(record.id)
        if float(stored) >= bounds.by_id[identifier]:
            reached.add(identifier)
    return reached


def _spelled(identifier: Any) -> int | str:
    return identifier if isinstance(identifier, int) else str(identifier)


def _select(
    selector: Any,
    by_ids: Callable[[list[Any]], edge.UpdateOperation],
    by_filter: Callable[[edge.Filter], edge.UpdateOperation],
) -> edge.UpdateOperation:
    match selector.WhichOneof("points_selector_one_of"):
        case "points":
            ids = read_ids(selector.points.ids)
            if not ids:
                raise _empty()
            return by_ids(ids)
        case "filter":
            return by_filter(read_filter(selector.filter))
        case _:
            raise invalid("Malformed PointsSelector type")


def delete(collection: Collection, request: Any, wait: bool) -> Any:
    if not request.HasField("points"):
        raise invalid("PointSelector is missing")
    operation = _select(request.points, _Operation.delete_points, _Operation.delete_points_by_filter)
    return _apply(collection, operation, wait)


def update_vectors(collection: Collection, request: Any, wait: bool) -> Any:
    """Replace the given vectors of stored points; those of other names stay."""
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    points: list[edge.PointVectors] = []
    for index, point in enumerate(request.points):
        if not point.HasField("vectors"):
            raise invalid("vectors is expected")
        vectors = collection.vectors.read_message(point.vectors, index)
        points.append(edge.PointVectors(read_id(point.id), vectors))
    if not points:
        raise _empty()
    condition = read_optional_filter(request, "update_filter")
    return _apply(collection, _Operation.update_vectors(points, condition), wait)


def delete_vectors(collection: Collection, request: Any, wait: bool) -> Any:
    """Remove the vectors of these names from stored points."""
    names = list(request.vectors.names)
    collection.vectors.check_names(names)
    operation = _select(
        _selector(request),
        lambda ids: _Operation.delete_vectors(ids, names),
        lambda found: _Operation.delete_vectors_by_filter(found, names),
    )
    return _apply(collection, operation, wait)


def _selector(request: Any) -> Any:
    if not request.HasField("points_selector"):
        raise invalid("points_selector is expected")
    return request.points_selector


def set_payload(collection: Collection, request: Any, wait: bool) -> Any:
    payload = read_payload(request.payload)
    key = request.key if request.HasField("key") else None
    try:
        operation = _select(
            _selector(request),
            lambda ids: _Operation.set_payload(ids, payload, key),
            lambda found: _Operation.set_payload_by_filter(found, payload, key),
        )
    except ValueError as error:
        raise from_engine(error) from error
    return _apply(collection, operation, wait)


def overwrite_payload(collection: Collection, request: Any, wait: bool) -> Any:
    payload = read_payload(request.payload)
    operation = _select(
        _selector(request),
        lambda ids: _Operation.overwrite_payload(ids, payload),
        lambda found: _Operation.overwrite_payload_by_filter(found, payload),
    )
    return _apply(collection, operation, wait)


def delete_payload(collection: Collection, request: Any, wait: bool) -> Any:
    keys = list(request.keys)
    try:
        operation = _select(
            _selector(request),
            lambda ids: _Operation.delete_payload(ids, keys),
            lambda found: _Operation.delete_payload_by_filter(found, keys),
        )
    except ValueError as error:
        raise from_engine(error) from error
    return _apply(collection, operation, wait)


def clear_payload(collection: Collection, request: Any, wait: bool) -> Any:
    if not request.HasField("points"):
        raise invalid("PointSelector is missing")
    operation = _select(request.points, _Operation.clear_payload, _Operation.clear_payload_by_filter)
    return _apply(collection, operation, wait)


def create_field_index(collection: Collection, request: Any, wait: bool) -> Any:
    schema = read_schema(request)
    try:
        operation = _Operation.create_field_index(request.field_name, schema)
    except ValueError as error:
        raise from_engine(error) from error
    return _apply(collection, operation, wait)


def delete_field_index(collection: Collection, request: Any, wait: bool) -> Any:
    try:
        operation = _Operation.delete_field_index(request.field_name)
    except ValueError as error:
        raise from_engine(error) from error
    return _apply(collection, operation, wait)


Write = Callable[[Collection, Any, bool], Any]


def single(write: Write) -> Callable[[Engine, Any], Any]:
    def answer(engine: Engine, request: Any) -> Any:
        ordering = request.ordering.type if "ordering" in request.DESCRIPTOR.fields_by_name else 0
        if ordering not in _ORDERINGS:
            raise invalid(f"cannot convert ordering: {ordering}")
        result = write(engine.collection(request.collection_name), request, request.wait)
        return messages.PointsOperationResponse(result=result)

    return answer


def _batched_upsert(collection: Collection, points: Any, wait: bool) -> Any:
    """The same points under other field numbers."""
    request = messages.UpsertPoints(points=points.points)
    for field in ("shard_key_selector", "update_filter"):
        if points.HasField(field):
            getattr(request, field).CopyFrom(getattr(points, field))
    request.update_mode = points.update_mode
    return upsert(collection, UpsertView.FromString(request.SerializeToString()), wait)


_BATCHED: dict[str, Write] = {
    "upsert": _batched_upsert,
    "delete_points": delete,
    "set_payload": set_payload,
    "overwrite_payload": overwrite_payload,
    "delete_payload": delete_payload,
    "clear_payload": clear_payload,
    "update_vectors": update_vectors,
    "delete_vectors": delete_vectors,
}


def update_batch(engine: Engine, request: Any) -> Any:
    """One after the other; what came before a refused operation stays applied, as on a server."""
    if not request.operations:
        raise invalid_field("operations", "value [] invalid, must be at least 1 characters")
    collection = engine.collection(request.collection_name)
    reply = messages.UpdateBatchResponse()
    for operation in request.operations:
        kind = operation.WhichOneof("operation")
        if kind is None:
            raise invalid("Operation is missing")
        write = _BATCHED.get(kind)
        if write is None:
            raise unserved(f"batched operation {kind}")
        reply.result.append(write(collection, getattr(operation, kind), request.wait))
    return reply
