import math
from collections.abc import Mapping
from typing import Any, cast

from ..refusal import invalid

_INT64 = range(-(2**63), 2**63)


def read_payload(fields: Any) -> dict[str, Any]:
    # Non-empty strings and non-zero integers are nearly all of real payloads, and asking for both costs less than
    # asking which of the seven kinds is set.
    return {key: value.string_value or value.integer_value or read_value(value) for key, value in fields.items()}


def read_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return read_payload(value.struct_value.fields)
    if kind == "list_value":
        return [read_value(item) for item in value.list_value.values]
    plain = getattr(value, kind)
    if kind == "double_value" and not math.isfinite(plain):
        raise invalid("cannot convert to json number")
    return plain


def write_payload(fields: Any, payload: Mapping[str, Any] | None) -> None:
    if payload:
        for key, item in payload.items():
            write_value(fields[key], item)


def write_value(value: Any, item: Any) -> None:
    kind = cast("Any", type(item))
    if kind is str:
        value.string_value = item
    elif kind is int and item in _INT64:
        value.integer_value = item
    elif kind is bool:
        value.bool_value = item
    elif kind is float or kind is int:
        value.double_value = item
    elif item is None:
        value.null_value = 0
    elif kind is dict:
        value.struct_value.SetInParent()
        write_payload(value.struct_value.fields, item)
    else:
        value.list_value.SetInParent()
        for each in item:
            write_value(value.list_value.values.add(), each)
