from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import orjson

from memq.encode.arrow.library import pyarrow
from memq.encode.points import payload_json
from memq.errors import InvalidPoint, InvalidRequest
from memq_schemas.points import VERSION_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


def expect_json(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless JSON can say what a column of this type holds."""
    types = pyarrow(".types")
    plain = kind.value_type if types.is_dictionary(kind) else kind
    tests = (
        types.is_binary,
        types.is_large_binary,
        types.is_binary_view,
        types.is_fixed_size_binary,
        types.is_duration,
    )
    if any(is_it(plain) for is_it in tests):
        raise InvalidRequest(f"column {name!r} is {kind}, which JSON cannot say")


def expect_objects(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless a column of this type can hold payloads as a whole."""
    types = pyarrow(".types")
    kind = getattr(kind, "storage_type", kind)
    if not (is_text(kind) or types.is_struct(kind) or types.is_null(kind)):
        raise InvalidRequest(f"column {name!r} is {kind}; payloads are structs, or JSON objects as text")


def texts(column: Any, first: int) -> Any:
    """A column `payload` of JSON objects as text, checked and left as it is. Raises InvalidPoint."""
    pa = pyarrow()
    for row, text in enumerate(column.to_pylist()):
        if text is not None:
            value = _json(text)
            if not isinstance(value, dict):
                raise InvalidPoint(first + row, "payload", f"expected a JSON object, this is {_kind(value)}")
            if VERSION_KEY in value:
                _dumped(value, first + row)
    return column.cast(pa.string())


def values(column: Any, *, whole: bool) -> list[Any]:
    """What a column holds, as Python objects that JSON can say. whole: text in it is the JSON of a payload."""
    pa, types = pyarrow(), pyarrow(".types")
    if types.is_timestamp(column.type):
        return _moments(column)
    if types.is_decimal(column.type):
        column = column.cast(pa.float64())
    found: list[Any] = column.to_pylist()
    return [None if value is None else _json(value) for value in found] if whole and is_text(column.type) else found


def objects(payloads: Sequence[Mapping[str, Any] | None], first: int) -> Any:
    """A column of JSON texts. Raises InvalidPoint."""
    pa = pyarrow()
    dumped = [None if value is None else _dumped(value, first + row) for row, value in enumerate(payloads)]
    return pa.array(dumped, pa.string())


def is_text(kind: Any) -> bool:
    types = pyarrow(".types")
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _dumped(value: Any, index: int) -> bytes:
    try:
        return payload_json(value)
    except ValueError as error:
        raise InvalidPoint(index, "payload", str(error)) from None


def _moments(column: Any) -> list[datetime | None]:
    # Python's datetimes stop at microseconds. Arrow keeps instants in UTC; cast to no zone it needs no zone database,
    # which small images do not have.
    moments: list[datetime | None] = column.cast(pyarrow().timestamp("us"), safe=False).to_pylist()
    if column.type.tz is None:
        return moments
    return [None if moment is None else moment.replace(tzinfo=UTC) for moment in moments]


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text


def _kind(value: Any) -> str:
    return "no JSON" if isinstance(value, str) else type(value).__name__
