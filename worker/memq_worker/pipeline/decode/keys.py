import json
import re
from typing import Any, cast

import numpy as np

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

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
