"""Results of requests as a tenant gets them: without hidden keys, and with its own ids."""

from collections.abc import Callable
from typing import Any

from memq_schemas import Operation
from memq_worker.pipeline.spaces.hidden_keys import ID_KEY, visible
from memq_worker.pipeline.spaces.ids import original

Record = dict[str, Any]

_LISTED = frozenset((Operation.QUERY, Operation.GET))


def without_hidden(operation: Operation, result: Any) -> Any:
    """Return a result whose points have no hidden keys."""
    return _mapped(operation, result, _without_hidden)


def restored(operation: Operation, result: Any, *, payload: bool) -> Any:
    """Return a result whose points have the ids that they were written with. payload: the request asked for payloads.

    A point without an original id was not written by memq, and is left out.
    """
    return _mapped(operation, result, lambda record: _restored(record, payload=payload))


def _mapped(operation: Operation, result: Any, change: Callable[[Record], Record | None]) -> Any:
    if operation in _LISTED:
        return [changed for record in result if (changed := change(record)) is not None]
    if operation is Operation.SCROLL:
        return {**result, "points": [changed for record in result["points"] if (changed := change(record)) is not None]}
    return result


def _without_hidden(record: Record) -> Record:
    return {**record, "payload": visible(record["payload"])} if record.get("payload") else record


def _restored(record: Record, *, payload: bool) -> Record | None:
    point = original(record["payload"].get(ID_KEY))
    if point is None:
        return None
    changed = {**record, "id": point, "payload": visible(record["payload"])}
    if not payload:
        del changed["payload"]
    return changed
