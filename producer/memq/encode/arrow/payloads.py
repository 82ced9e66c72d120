from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from memq.encode.arrow.library import pyarrow
from memq.encode.column_names import ColumnError
from memq.encode.points import payload_json
from memq.errors import InvalidPoint
from memq_schemas.json_values import InexactValue, exact_json, is_plain, json_object
from memq_schemas.json_values.arrow import Rules, json_values
from memq_schemas.json_values.arrow_types import unsayable
from memq_schemas.points import VERSION_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def expect_json(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless JSON can say what a column of this type holds."""
    reason = unsayable(kind)
    if reason is not None:
        raise ColumnError(name, f"column {name!r} is {reason}, or leave the column out")


def expect_objects(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless a column of this type can hold payloads as a whole."""
    types = pyarrow(".types")
    kind = getattr(kind, "storage_type", kind)
    if not (is_text(kind) or types.is_struct(kind) or types.is_map(kind) or types.is_null(kind)):
        raise ColumnError(name, f"column {name!r} is {kind}; payloads are structs, maps, or JSON objects as text")
    reason = unsayable(kind, depth=0)
    if reason is not None:
        raise ColumnError(name, f"column {name!r} is {reason}")


def texts(column: Any, first: int) -> Any:
    """A column `payload` of JSON objects as text, checked and not changed. Raises InvalidPoint."""
    pa = pyarrow()
    for row, text in enumerate(values(column, "payload", first)):
        if text is not None:
            whole = _json(text, first + row)
            if not isinstance(whole, dict):
                raise InvalidPoint(first + row, "payload", f"expected a JSON object, this is {_kind(whole)}")
            if VERSION_KEY in whole:
                _dumped(whole, first + row)
    return column.cast(pa.string())


def values(column: Any, name: str, first: int, *, whole: bool = False, rules: Rules | None = None) -> list[Any]:
    """A column's values as Python objects that JSON says exactly. Raises InvalidPoint with the row and its column.

    first: the number of the first row.   whole: text is the JSON of a payload.
    """
    try:
        found = json_values(column, rules or Rules())
    except InexactValue as problem:
        path = problem.path if problem.path.startswith("[") or not problem.path else f".{problem.path}"
        raise InvalidPoint(first + (problem.row or 0), f"{name}{path}", problem.reason) from None
    except pyarrow().ArrowException as error:
        raise ColumnError(name, f"column {name!r} is {column.type}, which pyarrow cannot read: {error}") from None
    if whole and is_text(column.type):
        return [None if value is None else _json(value, first + row) for row, value in enumerate(found)]
    return found


def objects(payloads: Sequence[Mapping[str, Any] | None], first: int, *, exact: bool = False) -> Any:
    """A column of JSON texts. Raises InvalidPoint.   exact: the values are known to be what JSON says exactly."""
    pa = pyarrow()
    dumped = [None if value is None else _dumped(value, first + row, exact) for row, value in enumerate(payloads)]
    return pa.array(dumped, pa.string())


def is_text(kind: Any) -> bool:
    types = pyarrow(".types")
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _dumped(value: Any, index: int, exact: bool = False) -> bytes:
    try:
        return orjson.dumps(value) if exact and VERSION_KEY not in value else payload_json(value)
    except ValueError as error:
        raise InvalidPoint(index, "payload", str(error)) from None


def _json(text: str, row: int) -> Any:
    """The value of a JSON text; the text itself if it is none. Raises InvalidPoint."""
    try:
        value = exact_json(text.encode())
        if isinstance(value, dict):
            payload = cast("dict[str, Any]", value)
            return payload if is_plain(payload.values()) else json_object(payload)
    except InexactValue as problem:
        raise InvalidPoint(row, "payload", str(problem)) from None
    except ValueError:
        return text
    return value


def _kind(value: Any) -> str:
    return "no JSON" if isinstance(value, str) else type(value).__name__
