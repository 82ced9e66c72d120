from collections.abc import Iterable
from typing import Any, cast

from memq_schemas import ErrorCode
from memq_schemas.json_values.python import MAX_DEPTH
from memq_schemas.points import VERSION_KEY
from memq_worker.errors import MessageError

_PLAIN = frozenset((str, bool, float, type(None)))
_I64 = range(-(2**63), 2**63)
_FEW = 16  # items, up to which looking at each is faster


def check_payload(payload: dict[str, Any] | None, where: str, *row: int) -> int:
    """Raises MessageError, naming the place `where`.format(*row), for what Qdrant's payload cannot hold.

    Returns how many keys its objects have.
    """
    if payload is None:
        return 0
    if VERSION_KEY in payload:
        raise _refused(where.format(*row), f"the key {VERSION_KEY!r} is memq's own: give the point a version instead")
    keys = len(payload)
    for value in payload.values():
        if type(value) not in _PLAIN:
            keys += _check_value(value, where, row, 1)
    return keys


def _check_value(value: Any, where: str, row: tuple[int, ...], depth: int) -> int:
    if isinstance(value, int):
        if value not in _I64:
            raise _refused(where.format(*row), "an integer outside 64 bits, signed")
    elif isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            raise _refused(where.format(*row), f"nested more than {MAX_DEPTH} levels deep")
        container = cast("dict[str, Any] | list[Any]", value)
        keys = len(container) if isinstance(container, dict) else 0
        items = container.values() if isinstance(container, dict) else container
        if len(items) < _FEW or not _all_plain(items):
            for item in items:
                keys += _check_value(item, where, row, depth + 1)
        return keys
    return 0


def _all_plain(items: Iterable[Any]) -> bool:
    """Return True if there is nothing to refuse in any of many items, which is seen at a fraction of the cost."""
    kinds = set(map(type, items))
    kinds -= _PLAIN
    return not kinds or (kinds == {int} and _fits(items))


def _fits(items: Iterable[Any]) -> bool:
    try:
        return min(items) in _I64 and max(items) in _I64
    except TypeError:  # texts beside the integers
        return False


def _refused(where: str, reason: str) -> MessageError:
    return MessageError(ErrorCode.INVALID_PAYLOAD, f"{where}: {reason}", stage="validate")
