"""What Qdrant's payload cannot hold: integers beyond 64 bits, deep nesting, and the key that is memq's own."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

from memq_schemas import ErrorCode
from memq_schemas.json_values.python import MAX_DEPTH
from memq_schemas.limits import MAX_CONTAINERS
from memq_schemas.points import VERSION_KEY
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.checks import CONTAINERS, FEW, containers, too_many_containers

_PLAIN = frozenset((str, bool, float, type(None)))
_I64 = range(-(2**63), 2**63)
_TOO_LARGE = "an integer outside 64 bits, signed"


def check_payload(payload: dict[str, Any] | None, where: str, *row: int) -> int:
    """Raises MessageError, naming the place `where`.format(*row), for what Qdrant's payload cannot hold.

    Returns how many keys its objects have.
    """
    if payload is None:
        return 0
    if VERSION_KEY in payload:
        raise _refused(where.format(*row), f"the key {VERSION_KEY!r} is memq's own: give the point a version instead")
    many = len(payload) >= FEW
    for value in payload.values():
        if many or (type(value) not in _PLAIN and (type(value) is not int or value not in _I64)):
            try:
                return len(payload) + _check_levels(payload.values())
            except ValueError as error:
                raise _refused(where.format(*row), str(error)) from None
    return len(payload)


def check_payloads(payloads: list[dict[str, Any] | None], where: str, first: int = 0) -> int:
    """Check the payloads of a message together, which costs a fraction of checking one after another.

    Raises MessageError as `check_payload` does. Returns how many keys the objects within have.

    first: row of the first payload in the message.
    """
    given = [payload for payload in payloads if payload]
    if len(given) > 1 and not any(VERSION_KEY in payload for payload in given):
        with suppress(ValueError):  # found below
            return _check_levels(list(chain.from_iterable(map(dict[str, Any].values, given))))
    return sum(
        check_payload(payload, where, row) - len(payload) for row, payload in enumerate(payloads, first) if payload
    )


def _check_levels(values: Collection[Any]) -> int:
    """Check one level of nesting after another: a call for each container would cost several times as much.

    Returns how many keys the objects within have. Raises ValueError.
    """
    keys, found, depth = 0, 0, 0
    while True:
        objects, lists = _within(values) if len(values) < FEW else _within_many(values)
        if not objects and not lists:
            return keys
        depth += 1
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        found += len(objects) + len(lists)
        if found > MAX_CONTAINERS:
            raise too_many_containers("payload")
        values = list(chain.from_iterable(lists))
        for each in objects:
            keys += len(each)
            values += each.values()


def _within(values: Iterable[Any]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Return the objects and the lists among few values. Raises ValueError for an integer that is too large."""
    objects: list[dict[str, Any]] = []
    lists: list[list[Any]] = []
    for value in values:
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind in _PLAIN:
            continue
        if kind is int:
            if value not in _I64:
                raise ValueError(_TOO_LARGE)
        elif kind is dict:
            objects.append(value)
        elif kind is list:
            lists.append(value)
    return objects, lists


def _within_many(values: Collection[Any]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Do the same without a look at each value."""
    kinds = set(map(type, values))
    if int in kinds:
        integers = values if len(kinds) == 1 else [value for value in values if type(value) is int]
        if min(integers) not in _I64 or max(integers) not in _I64:
            raise ValueError(_TOO_LARGE)
    return ([], []) if kinds.isdisjoint(CONTAINERS) else containers(values)


def _refused(where: str, reason: str) -> MessageError:
    return MessageError(ErrorCode.INVALID_PAYLOAD, f"{where}: {reason}", stage="validate")
