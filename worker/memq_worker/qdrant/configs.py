"""Conversion between options in the wire form and Qdrant's messages, field by field: both have the same names."""

from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor

# Fields that Qdrant's REST API, and so the wire form, names in another way.
_MESSAGE_NAMES = {"turbo": "turboquant"}
_WIRE_NAMES = {value: key for key, value in _MESSAGE_NAMES.items()}
# Enum values on the wire that are more than their name in lower case.
_SPELLED = {
    "maxsim": "max_sim",
    "onebit": "one_bit",
    "twobits": "two_bits",
    "oneandhalfbits": "one_and_half_bits",
}
_SETTING, _NUMBER, _DISABLED = "setting", "value", "disabled"


def fill(target: Any, value: Any) -> None:
    """Set the fields of a message that `value` has; a value that is None is left out."""
    if not isinstance(value, dict):
        _fill_alternative(target, value)
        return
    owner = _only_map(target.DESCRIPTOR)
    if owner is not None:
        for key, inner in cast("dict[str, Any]", value).items():
            entry = getattr(target, owner.name)[key]
            entry.SetInParent()
            fill(entry, inner)
        return
    for name, inner in cast("dict[str, Any]", value).items():
        if inner is not None:
            _set(target, target.DESCRIPTOR.fields_by_name[_MESSAGE_NAMES.get(name, name)], inner)


def _set(target: Any, field: FieldDescriptor, value: Any) -> None:
    if field.message_type is not None:
        inner = getattr(target, field.name)
        inner.SetInParent()
        fill(inner, value)
    else:
        setattr(target, field.name, _number(field, value) if field.enum_type is not None else value)


def _fill_alternative(target: Any, value: Any) -> None:
    """Fill a message that is one value on the wire: a number, or the name of a setting."""
    fields = target.DESCRIPTOR.fields_by_name
    if isinstance(value, str) and value.lower() == _DISABLED:
        target.disabled.SetInParent()
    elif isinstance(value, str):
        target.setting = _number(fields[_SETTING], value)
    else:
        target.value = value


def _number(field: FieldDescriptor, value: str) -> int:
    kind: Any = field.enum_type
    plain = value.replace("_", "").lower()
    return next(each.number for each in kind.values if each.name.replace("_", "").lower() == plain)


def _only_map(descriptor: Any) -> FieldDescriptor | None:
    """The map that is all there is to a message."""
    fields = descriptor.fields
    if len(fields) != 1 or fields[0].message_type is None:
        return None
    return fields[0] if fields[0].message_type.GetOptions().map_entry else None


def read(message: Any) -> Any:
    """Return the fields that a message has, in the wire form."""
    descriptor = message.DESCRIPTOR
    owner = _only_map(descriptor)
    if owner is not None:
        return {key: read(inner) for key, inner in sorted(getattr(message, owner.name).items())}
    if _SETTING in descriptor.fields_by_name:
        return _alternative(message)
    fields = [field for field in descriptor.fields if not field.has_presence or message.HasField(field.name)]
    return {_WIRE_NAMES.get(field.name, field.name): _value(message, field) for field in fields}


def _alternative(message: Any) -> Any:
    fields = message.DESCRIPTOR.fields_by_name
    if _NUMBER in fields and message.HasField(_NUMBER):
        return message.value
    return _name(fields[_SETTING], message.setting)


def _value(message: Any, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return list(value)
    if field.message_type is not None:
        return read(value)
    if field.enum_type is not None:
        return _name(field, value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        # The shortest number that is the same float32: 0.99 comes back as 0.99.
        return float(f"{value:.7g}")
    return value


def _name(field: FieldDescriptor, number: int) -> str:
    kind: Any = field.enum_type
    found = kind.values_by_number.get(number)
    name = found.name.lower() if found is not None else str(number)
    return _SPELLED.get(name, name)
