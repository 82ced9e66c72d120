from typing import Any, cast

from memq_schemas import ErrorCode
from memq_schemas.json_values.python import MAX_DEPTH
from memq_schemas.points import VERSION_KEY
from memq_worker.errors import MessageError

_PLAIN = frozenset((str, bool, float, type(None)))
_I64 = range(-(2**63), 2**63)


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
        for item in container.values() if isinstance(container, dict) else container:
            keys += _check_value(item, where, row, depth + 1)
        return keys
    return 0


def _refused(where: str, reason: str) -> MessageError:
    return MessageError(ErrorCode.INVALID_PAYLOAD, f"{where}: {reason}", stage="validate")
