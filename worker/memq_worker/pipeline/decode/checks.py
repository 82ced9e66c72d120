"""Checks of JSON beyond its parsers': doubled keys, the values of a payload, and the limits of one message."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np

from memq_schemas import ErrorCode
from memq_schemas.json_values.python import MAX_DEPTH
from memq_schemas.limits import MAX_NAMED_VECTORS, MAX_VALUES
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
    if keys >= _FEW and _all_plain(payload.values()):
        return keys
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


# Where a key ends. An escaped quote or the beginning of a string may look like it too, which only adds to the count.
_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_NAME_LIMIT = 100  # characters
_LARGE = 8192  # bytes, from which on numpy is the faster


def check_unique(body: bytes, keys: int) -> None:
    """Raises MessageError if an object in this JSON, which has been parsed, has a key twice.

    Parsers keep the last of them and say nothing. `keys` is how many of them were seen after parsing, or fewer; twice
    the same counts once then, but each has a colon of its own in the body. So where there are no more colons than keys
    there is nothing twice, and the body is read again only where that leaves a doubt.
    """
    if keys != _colons(body) and keys != len(_KEY_END.findall(body)):
        json.loads(body, object_pairs_hook=_unique, parse_int=len, parse_float=len)


def _colons(body: bytes) -> int:
    if len(body) < _LARGE:
        return body.count(b":")
    # bytes.count looks at one byte after the other.
    return int(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == ord(":")))


def count_keys(value: Any) -> int:
    """Count the keys of all objects within. A list whose first item is a number is not searched."""
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        return len(inner) + sum(count_keys(each) for each in inner.values() if isinstance(each, dict | list))
    items = cast("list[Any]", value)
    if not items or isinstance(items[0], int | float):
        return 0
    return sum(count_keys(each) for each in items if isinstance(each, dict | list))


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            text = "body: a key twice in one object"
            raise MessageError(ErrorCode.MALFORMED, text, stage="decode", answer=f"{text}: {name[:_NAME_LIMIT]!r}")
        seen.add(name)


# Bytes up to which values are not counted: that would cost a usual message more than it could save.
SMALL = 2**18

_VALUES = b",[{"
_PART = 2**16


def at_most(body: Any) -> int:
    """Return an upper limit of the number of values in JSON: commas and openings, those inside texts included.

    Counting ends soon after MAX_VALUES.
    """
    found = 1 + sum(int(np.count_nonzero(part == ord(","))) for part in _parts(body))
    for opening in (b"[", b"{"):
        # In most bodies they are few, and looking for the next one is the fastest.
        at = body.find(opening)
        while at >= 0 and found <= MAX_VALUES:
            found += 1
            at = body.find(opening, at + 1)
    return found


def values(body: bytes) -> int:
    """Return the number of values in JSON. An empty list or object counts twice."""
    return 1 + outside_texts(body, _VALUES)


def outside_texts(body: bytes, characters: bytes) -> int:
    """Return how often the characters are in JSON, those inside texts left out."""
    # What a backslash escapes is no quote. In valid JSON there are none outside of texts.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    count, inside = 0, False
    for part in _parts(body):
        wanted = part == characters[0]
        for each in characters[1:]:
            wanted |= part == each
        quotes = part == ord('"')
        if quotes.any():
            # Odd behind an opening quote.
            depth = np.cumsum(quotes, dtype=np.uint8)
            wanted &= (depth & 1) == inside
            inside ^= bool(depth[-1] & 1)
        elif inside:
            continue
        count += int(np.count_nonzero(wanted))
    return count


def _parts(body: Any) -> Iterator[Any]:
    # Small enough for the processor's cache: several times as fast as all at once.
    whole = np.frombuffer(body, dtype=np.uint8)
    return (whole[at : at + _PART] for at in range(0, len(whole), _PART))


def check_values(body: bytes, where: str = "body") -> None:
    """Raise MessageError for JSON of more than MAX_VALUES values."""
    if len(body) > SMALL and at_most(body) > MAX_VALUES and values(body) > MAX_VALUES:
        raise too_many_values(where)


def too_many_values(where: str) -> MessageError:
    return MessageError(
        ErrorCode.TOO_LARGE,
        f"{where}: more than {MAX_VALUES} values in one message; send fewer points in a message, or fewer values",
        stage="decode",
    )


def check_count(points: int, max_points: int) -> None:
    """Raise MessageError for more points than a message may have."""
    if points > max_points:
        raise MessageError(
            ErrorCode.TOO_MANY_POINTS,
            f"points: {points} in one message, this worker takes {max_points}",
            stage="validate",
        )


def check_names(names: int, index: int) -> None:
    """Raise MessageError for more named vectors than a point may have."""
    if names > MAX_NAMED_VECTORS:
        raise MessageError(
            ErrorCode.INVALID_VECTOR,
            f"points[{index}].vector: {names} named vectors, at most {MAX_NAMED_VECTORS} are possible",
            stage="validate",
        )
