"""Checks of JSON beyond its parsers': doubled keys, the limits of one message, and what no payload can hold."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np

from memq_schemas import ErrorCode
from memq_schemas.json_values.python import MAX_DEPTH
from memq_schemas.limits import MAX_CONTAINERS, MAX_VALUES, max_values
from memq_schemas.points import VERSION_KEY
from memq_worker.errors import MessageError

CONTAINERS = frozenset((dict, list))
FEW = 16  # items, up to which looking at each is faster


def containers(values: Collection[Any]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Return the objects and the lists among the values."""
    if len(values) >= FEW and CONTAINERS.isdisjoint(map(type, values)):
        return [], []
    return [value for value in values if type(value) is dict], [value for value in values if type(value) is list]


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
    """Count the keys of all objects within. A list whose first item is a number is not searched.

    Raises MessageError for too many lists and objects.
    """
    keys, found = 0, 0
    values: list[Any] = [value]
    while values:
        objects, lists = containers(values)
        found += len(objects) + len(lists)
        if found > MAX_CONTAINERS:
            raise too_many_containers("body")
        values = []
        for each in objects:
            keys += len(each)
            values += each.values()
        for items in lists:
            if items and not isinstance(items[0], int | float):
                values += items
    return keys


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
_PER_FIND = 256  # bytes, on average, that a call of find passes where it is as fast as numpy


def census(body: Any) -> tuple[int, int]:
    """Return upper limits of the numbers of values and of containers in JSON: what is inside texts counts as well.

    Counting ends soon after MAX_VALUES. Bodies of up to SMALL bytes are not counted: both are 0.
    """
    if len(body) <= SMALL:
        return 0, 0
    commas = 0
    for part in _parts(body):
        commas += int(np.count_nonzero(part == ord(",")))
        if commas > MAX_VALUES:
            break
    openings = _openings(body, MAX_VALUES)
    return 1 + commas + openings, openings


def _openings(body: Any, most: int) -> int:
    """Return how many lists and objects begin in JSON, those inside texts included; counting ends soon after `most`."""
    found = 0
    for opening in (b"[", b"{"):
        # In most bodies they are few, and looking for the next one is the fastest.
        at, limit = body.find(opening), found + len(body) // _PER_FIND
        while at >= 0 and found <= limit:
            found += 1
            at = body.find(opening, at + 1)
        if at >= 0:
            for part in _parts(memoryview(body)[at:]):
                found += int(np.count_nonzero(part == ord(opening)))
                if found > most:
                    return found
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


def check_values(body: bytes, where: str = "body", size: int = 0) -> None:
    """Raise MessageError for JSON with too many values, or of more than MAX_CONTAINERS lists and objects.

    size: bytes of the message, of which the JSON may be a part.
    """
    most, openings = census(body)
    if not most:
        return
    limit = max_values(size or len(body))
    if most > limit and values(body) > limit:
        raise too_many_values(where, limit)
    if openings > MAX_CONTAINERS and outside_texts(body, b"[{") > MAX_CONTAINERS:
        raise too_many_containers(where)


def too_many_values(where: str, limit: int) -> MessageError:
    return MessageError(
        ErrorCode.TOO_LARGE,
        f"{where}: more than {limit} values in one message of this size; send fewer points, or fewer values",
        stage="decode",
    )


def too_many_containers(where: str) -> MessageError:
    return MessageError(
        ErrorCode.TOO_LARGE, f"{where}: more than {MAX_CONTAINERS} lists and objects in one message", stage="decode"
    )


def too_many_vectors(most: int) -> MessageError:
    return MessageError(
        ErrorCode.TOO_LARGE,
        f"points: more than {most} vectors and rows of vectors in one message of this size; send fewer points",
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
