"""JSON form of an Arrow type, for any values."""

from collections import Counter
from importlib import import_module
from typing import Any

from memq_schemas.json_values.python import MAX_DEPTH, TOO_DEEP


def unsayable(kind: Any, *, binary: bool = False, depth: int = 1, runs: bool = True) -> str | None:
    """Why no column of this type becomes JSON, or None if its values decide.

    binary: take bytes, as base64 text, and durations, as ISO 8601 text: the wire does, a producer does not.
    depth: 1 for the value of a payload's key.   runs: take run-end encoded values.
    """
    pa = import_module("pyarrow")
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return None
        return unsayable(kind.storage_type, binary=binary, depth=depth, runs=runs)
    encoded = pa.types.is_run_end_encoded(kind)
    if encoded and not runs:
        # pyarrow ends the process over some of them.
        return f"{kind} within another type; decode the runs"
    if encoded or pa.types.is_dictionary(kind):
        # pyarrow cannot join the rows of some dictionaries of lists.
        nested = not encoded and _inner(pa.types, kind.value_type) is not None
        below = unsayable(kind.value_type, binary=binary, depth=depth, runs=False)
        return f"{kind}; decode the dictionary" if nested else below
    inner = _inner(pa.types, kind)
    if inner is None:
        return _scalar(pa.types, kind, binary)
    reason = _container(pa.types, kind, inner, depth)
    runs = runs and pa.types.is_struct(kind)
    below = (unsayable(each.type, binary=binary, depth=depth + 1, runs=runs) for each in inner)
    return reason or next(filter(None, below), None)


def _scalar(types: Any, kind: Any, binary: bool) -> str | None:
    if is_binary(types, kind) and not binary:
        return f"{kind}, which JSON has no type for; store it as text, base64 for example"
    if types.is_interval(kind) or (types.is_duration(kind) and not binary):
        return f"{kind}, which JSON has no type for; store a number of seconds"
    return None


def _container(types: Any, kind: Any, inner: list[Any], depth: int) -> str | None:
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    if types.is_map(kind) and not is_text(types, getattr(kind.key_type, "value_type", kind.key_type)):
        return f"{kind}; keys of an object are text"
    names = [field.name for field in inner] if types.is_struct(kind) else []
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    return None if twice is None else f"{kind}; two fields are called {twice!r}"


def _inner(types: Any, kind: Any) -> list[Any] | None:
    """The fields below a type; None for one that has none."""
    if types.is_map(kind):
        return [kind.item_field]
    if is_list(types, kind):
        return [kind.value_field]
    if types.is_struct(kind) or types.is_union(kind):
        return [kind.field(index) for index in range(kind.num_fields)]
    return None


def is_list(types: Any, kind: Any) -> bool:
    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def is_text(types: Any, kind: Any) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_binary(types: Any, kind: Any) -> bool:
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )
