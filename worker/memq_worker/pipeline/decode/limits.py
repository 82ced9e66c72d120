"""Limits of one message, checked before anything is built of what it has."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_NAMED_VECTORS, MAX_VALUES
from memq_worker.errors import MessageError

# Bytes up to which values are not counted: that would cost a usual message more than it could save.
SMALL = 2**20

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
