"""JSON text to values, without what parsers lose: integers beyond 64 bits and keys that an object has twice."""

import json
import re
from typing import Any, cast

import orjson

from memq_schemas.json_values.problem import InexactValue

_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_LONG_LIST = 512  # bytes
_LARGE = 2.0**63


def exact_json(text: bytes, numbers: str | None = None) -> Any:
    """The value of a JSON text; integers are exact whatever their size. Raises ValueError.

    numbers: a key of the outermost object that holds vectors, whose numbers become float32 and are not looked at.
    """
    value = orjson.loads(text)
    keys, large = _survey(value, numbers)
    # orjson makes a float of a long integer and keeps the last of two keys. Where the text has no more key ends than
    # the value has keys, no key is there twice.
    if large or keys != len(_KEY_END.findall(_without_numbers(text))):
        return json.loads(text, object_pairs_hook=_unique)
    return value


def may_be_rounded(value: Any) -> bool:
    """Return True if a float in what orjson has read is so large that the text could have a long integer there."""
    return _survey(value)[1]


def _survey(value: Any, numbers: str | None = None) -> tuple[int, bool]:
    """How many keys all objects within have, and whether a float could be a long integer."""
    if isinstance(value, float):
        return 0, not -_LARGE < value < _LARGE
    keys, large = 0, False
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        keys = len(inner)
        for name, item in inner.items():
            if name == numbers:
                keys += len(cast("dict[str, Any]", item)) if isinstance(item, dict) else 0
            elif isinstance(item, float | dict | list):
                more, longer = _survey(item)
                keys, large = keys + more, large or longer
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            if isinstance(item, float | dict | list):
                more, longer = _survey(item)
                keys, large = keys + more, large or longer
    return keys, large


def _without_numbers(text: bytes) -> bytes:
    """The text without its first list if that is long and has no text in it, as a vector is."""
    start = text.find(b"[")
    end = text.find(b"]", start)
    if end - start < _LONG_LIST or text.find(b'"', start, end) >= 0:
        return text
    return text[:start] + text[end:]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InexactValue("the key is there twice", name)
            seen.add(name)
    return found
