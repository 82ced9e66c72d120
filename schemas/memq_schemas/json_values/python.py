"""Python's and numpy's values to what JSON says exactly."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np

from memq_schemas.json_values.decimals import INFINITE, MAX_INTEGER, MIN_INTEGER, json_number, within_64_bits
from memq_schemas.json_values.problem import InexactValue, key_path
from memq_schemas.json_values.times import datetime64_text, datetime_text, time_text

# Each JSON level costs three nested protobuf messages, and protobuf parsers stop at 100.
MAX_DEPTH = 16

TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
NOT_UNICODE = "not Unicode text: half of a surrogate pair"

_DURATION = "a duration, which JSON has no type for; store a number of seconds"
_BYTES = "bytes, which JSON has no type for; store them as text, base64 for example"

# What every JSON writer says exactly.
_PLAIN = frozenset((str, bool, type(None), date, UUID))
_MISSING = frozenset(("NAType", "NaTType"))


def is_plain(values: Iterable[Any], depth: int = 1) -> bool:  # noqa: C901 (one loop: this is on the path of every point)
    """Return True if orjson writes these values of a payload exactly and a worker takes them.

    Values of other types cost more and are left to `json_value`.
    """
    value: Any
    for value in values:
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind in _PLAIN:
            continue
        if kind is int:
            if MIN_INTEGER <= value <= MAX_INTEGER:
                continue
        elif kind is float:
            # NaN is written as null; infinity would be too.
            if value - value == 0 or value != value:
                continue
        elif kind is dict:
            if depth < MAX_DEPTH and is_plain(value.values(), depth + 1):
                continue
        elif kind is list or kind is tuple:
            if depth < MAX_DEPTH and is_plain(value, depth + 1):
                continue
        elif kind is datetime and (value.tzinfo is None or value.tzinfo is UTC):
            continue
        return False
    return True


def json_object(payload: Mapping[Any, Any]) -> dict[str, Any]:
    """A payload of values that JSON says exactly. Raises InexactValue with the path of the first that it cannot say."""
    return _object(payload, "", 0)


def json_value(value: Any, path: str = "", depth: int = 1) -> Any:
    """One value of a payload as None, bool, int, float, str, list or dict. Raises InexactValue.

    NaN, NaT and pandas.NA are null. An Enum is its value, a dataclass an object, an array a list.
    """
    try:
        return _value(value, path, depth)
    except InexactValue as problem:
        raise problem if problem.path or not path else InexactValue(problem.reason, path) from None


def _value(value: Any, path: str, depth: int) -> Any:
    if value is None or type(value) is bool or type(value).__name__ in _MISSING:
        return bool(value) if type(value) is bool else None
    for kinds, convert in _CONVERTERS:
        if isinstance(value, kinds):
            return convert(value, path, depth)
    if is_dataclass(value) and not isinstance(value, type):
        return _object({each.name: getattr(value, each.name) for each in fields(value)}, path, depth)
    raise InexactValue(f"{type(value).__name__}, which JSON has no type for")


def _numpy(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, np.datetime64):
        return datetime64_text(value)
    if isinstance(value, np.timedelta64):
        raise InexactValue(_DURATION)
    kind = value.dtype.kind
    if kind == "f" and value.dtype.itemsize > 8:
        return _long(value)
    if kind in "biufU":
        return _value(value.item(), path, depth)
    raise InexactValue(_BYTES if kind == "S" else f"{value.dtype}, which JSON has no type for")


def _long(value: Any) -> float | None:
    number = float(value)
    if np.isfinite(value) and number != value:
        raise InexactValue("more digits than a 64-bit float keeps; store it as text")
    return _finite(number)


def _array(array: "np.ndarray[Any, Any]", path: str, depth: int) -> Any:
    if not array.ndim:
        return _value(array[()], path, depth)
    plain = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
    return _list(array.tolist() if plain else list(array), path, depth)


def _list(items: Sequence[Any], path: str, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise InexactValue(TOO_DEEP)
    return [json_value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]


def _object(items: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    if depth >= MAX_DEPTH:
        raise InexactValue(TOO_DEEP)
    found: dict[str, Any] = {}
    for key, item in items.items():
        if not isinstance(key, str):
            raise InexactValue(f"a key is {type(key).__name__}, keys of objects are text")
        name = _text(key)
        if name in found:
            raise InexactValue("twice", key_path(path, name))
        found[name] = json_value(item, key_path(path, name), depth + 1)
    return found


def _text(value: str) -> str:
    text = str(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InexactValue(NOT_UNICODE) from None
    return text


def _finite(number: float) -> float | None:
    if number - number == 0:
        return number
    if number != number:
        return None
    raise InexactValue(INFINITE)


def _refused(reason: str) -> Callable[[Any, str, int], Any]:
    def refuse(value: Any, path: str, depth: int) -> Any:
        raise InexactValue(reason)

    return refuse


def _alone(convert: Callable[[Any], Any]) -> Callable[[Any, str, int], Any]:
    """A converter of values that have nothing below them."""
    return lambda value, path, depth: convert(value)


# In this order: an IntEnum is an Enum first, a datetime is a date too.
_CONVERTERS: tuple[tuple[Any, Callable[[Any, str, int], Any]], ...] = (
    (Enum, lambda value, path, depth: json_value(value.value, path, depth)),
    (np.generic, _numpy),
    (str, _alone(_text)),
    (int, _alone(lambda value: within_64_bits(int(value)))),
    (float, _alone(lambda value: _finite(float(value)))),
    (Mapping, _object),
    (np.ndarray, _array),
    ((bytes, bytearray, memoryview), _refused(_BYTES)),
    ((list, tuple, deque), _list),
    (Decimal, _alone(json_number)),
    (datetime, _alone(datetime_text)),
    (date, _alone(date.isoformat)),
    (time, _alone(time_text)),
    (UUID, _alone(str)),
    (timedelta, _refused(_DURATION)),
)
