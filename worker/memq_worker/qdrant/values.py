"""JSON objects as the maps of Values that Qdrant has for payloads and metadata, and back."""

from typing import Any, cast

from memq_qdrant import grpc

_FIELDS: dict[type, str] = {
    str: "string_value",
    int: "integer_value",
    float: "double_value",
    bool: "bool_value",
}


def to_values(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what a message's constructor takes for a map of Values.

    Dicts of arguments: protobuf builds all of the messages at once from them, which costs less than each by itself.
    """
    return {key: _arguments(value) for key, value in fields.items()}


def _arguments(value: Any) -> dict[str, Any]:
    kind = cast("type[Any]", type(value))
    if (field := _FIELDS.get(kind)) is not None:
        return {field: value}
    if value is None:
        return {"null_value": grpc.NULL_VALUE}
    if isinstance(value, dict):
        return {"struct_value": {"fields": to_values(cast("dict[str, Any]", value))}}
    return {"list_value": {"values": [_arguments(each) for each in value]}}


def from_values(fields: Any) -> dict[str, Any]:
    # By key: protobuf's items() is a generator in Python. Fields that are not set are empty, and to look at four of
    # them takes less time than WhichOneof.
    return {
        key: (value := fields[key]).string_value
        or value.integer_value
        or value.double_value
        or value.bool_value
        or _value(value)
        for key in fields
    }


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_values(value.struct_value.fields)
    if kind == "list_value":
        return [_value(inner) for inner in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)
