"""JSON text to values, without what parsers lose: integers beyond 64 bits and keys that an object has twice."""

import json
import re
from typing import Any, cast

import orjson

from memq_schemas.json_values.problem import InexactValue
from memq_schemas.json_values.python import TOO_DEEP

_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_LONG_LIST = 512  # bytes
_LARGE = 2.0**63
_MANY = 16  # items, from which on a look at each is slower than one at the types of all
_PLAIN = frozenset((str, int, bool, type(None)))
_NOTHING = object()


def exact_json(text: bytes, numbers: str | None = None) -> Any:
    """The value of a JSON text; integers are exact whatever their size. Raises ValueError.

    numbers: a key of the outermost object that holds vectors, whose numbers become float32 and are not looked at.
    """
    try:
        return _exact(text, numbers)
    except RecursionError:
        raise InexactValue(TOO_DEEP) from None


def _exact(text: bytes, numbers: str | None) -> Any:
    value = orjson.loads(text)
    keys, large = _survey(value, numbers)
    # orjson makes a float of a long integer and keeps the last of two keys. Where the text has no more key ends than
    # the value has keys, no key is there twice.
    start, end = _numbers(text)
    if large or (
        keys != text.count(b":", 0, start) + text.count(b":", end)
        and keys != len(_KEY_END.findall(text, 0, start)) + len(_KEY_END.findall(text, end))
    ):
        return json.loads(text, object_pairs_hook=unique_keys)
    return value


def may_be_rounded(value: Any) -> bool:
    """Return True if a float in what orjson has read is so large that the text could have a long integer there."""
    return _survey(value)[1]


def _survey(value: Any, numbers: str | None = None) -> tuple[int, bool]:
    """Count the keys of all objects within, and tell if a float could be a long integer."""
    items: Any = value
    keys, large = 0, False
    vector: Any = _NOTHING
    if type(value) is dict:
        inner = cast("dict[str | None, Any]", value)
        items = inner.values()
        keys = len(inner)
        vector = inner.get(numbers, _NOTHING)
        if type(vector) is dict:
            keys += len(cast("dict[str, Any]", vector))
    elif type(value) is not list:
        items = (value,)
    if len(items) >= _MANY and _PLAIN.issuperset(map(type, items)):
        return keys, large
    for item in items:
        if type(item) in _PLAIN or item is vector:
            continue
        if type(item) is float:
            large = large or not -_LARGE < item < _LARGE
        else:
            more, longer = _survey(item)
            keys, large = keys + more, large or longer
    return keys, large


def _numbers(text: bytes) -> tuple[int, int]:
    """Where the first list begins and ends if it is long and has no text in it, as a vector is; else nowhere."""
    start = text.find(b"[")
    end = text.find(b"]", start)
    if end - start < _LONG_LIST or text.find(b'"', start, end) >= 0:
        return 0, 0
    return start, end


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, for `object_pairs_hook` of json. Raises InexactValue for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InexactValue("duplicate key", name)
            seen.add(name)
    return found
