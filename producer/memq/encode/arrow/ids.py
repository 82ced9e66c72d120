from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import numpy as np

from memq.encode.arrow import payloads
from memq.encode.arrow.library import pyarrow
from memq.encode.arrow.payloads import is_text
from memq.encode.column_names import ColumnError
from memq.encode.points import id_json
from memq.errors import InvalidPoint
from memq_schemas.ids import canonical_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

_CANONICAL = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def expect_ids(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless a column of this type can be ids."""
    types = pyarrow(".types")
    plain = kind.value_type if types.is_dictionary(kind) else getattr(kind, "storage_type", kind)
    boolean = getattr(kind, "extension_name", None) == "arrow.bool8"
    sixteen = types.is_binary(plain) or (types.is_fixed_size_binary(plain) and plain.byte_width == 16)
    whole = types.is_integer(plain) or (types.is_decimal(plain) and plain.scale <= 0)
    if boolean or not (sixteen or whole or types.is_null(plain) or is_text(plain)):
        raise ColumnError(
            name,
            f"column {name!r} is {kind}; ids are integers, or UUIDs as text or as 16 bytes; "
            "memq.point_id makes a UUID of any key",
        )


def wire_ids(column: Any, name: str, first: int) -> Any:
    """Convert ids to uint64, text of UUIDs, or their 16 bytes. `first` is the first row. Raises InvalidPoint."""
    types = pyarrow(".types")
    if types.is_dictionary(column.type):
        values = column.dictionary
        # Not all kinds of text can be taken from by index.
        column = (values.cast(pyarrow().string()) if is_text(values.type) else values).take(column.indices)
    column = getattr(column, "storage", column)
    if column.null_count:
        _refuse([None if value is None else 0 for value in column.to_pylist()], name, first)
    if types.is_decimal(column.type):
        return ids_of(list(map(int, column.to_pylist())), first, name)
    if types.is_binary(column.type):
        return _bytes(column, name, first)
    if types.is_integer(column.type):
        return _unsigned(column, name, first)
    return _texts(column, name, first) if is_text(column.type) else column


def alike(values: Any) -> bool:
    """Return True if one column can hold these ids: all integers, or all UUIDs or text."""
    if isinstance(values, np.ndarray):
        return cast("np.ndarray[Any, Any]", values).dtype.kind in "iu"
    kinds = set(map(type, values))
    return all(issubclass(kind, (str, UUID)) for kind in kinds) or all(
        issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds
    )


def ids_of(values: Sequence[Any], first: int, name: str = "id") -> Any:
    """The same as `wire_ids` of what is `alike`."""
    pa = pyarrow()
    if isinstance(values, np.ndarray) or not isinstance(values[0], (str, UUID)):
        try:
            given = pa.array(values) if isinstance(values, np.ndarray) else pa.array(values, pa.uint64())
            return _unsigned(given, name, first)
        except (pa.ArrowInvalid, OverflowError):
            _refuse(values, name, first)
    return _texts(pa.array(list(map(str, values)), pa.string()), name, first)


def _unsigned(column: Any, name: str, first: int) -> Any:
    pa = pyarrow()
    try:
        return column.cast(pa.uint64())
    except pa.ArrowInvalid:
        return _refuse(column.to_pylist(), name, first)


def _bytes(column: Any, name: str, first: int) -> Any:
    values = column.to_pylist()
    for row, value in enumerate(values):
        if len(value) != 16:
            raise InvalidPoint(first + row, name, f"{len(value)} bytes; a UUID has 16")
    return pyarrow().array(values, pyarrow().binary(16))


def _texts(column: Any, name: str, first: int) -> Any:
    pa, compute = pyarrow(), pyarrow(".compute")
    column = column.cast(pa.string())
    if compute.all(compute.match_substring_regex(column, _CANONICAL)).as_py() is not False:
        return column
    texts: list[str] = []
    for row, text in enumerate(payloads.values(column, name, first)):
        try:
            texts.append(canonical_uuid(text))
        except ValueError as error:
            raise InvalidPoint(first + row, name, str(error).removeprefix("id: ")) from None
    return pa.array(texts, pa.string())


def _refuse(values: Sequence[Any], name: str, first: int) -> Any:
    """Raises InvalidPoint for the first of them that is no id."""
    for row, value in enumerate(values):
        try:
            id_json(value)
        except ValueError as error:
            raise InvalidPoint(first + row, name, str(error).removeprefix("id: ")) from None
    raise AssertionError("all of these are ids")
