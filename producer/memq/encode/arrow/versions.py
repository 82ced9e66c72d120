from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memq.encode.arrow.library import pyarrow
from memq.encode.column_names import ColumnError
from memq.encode.points import INTEGERS
from memq.errors import InvalidPoint
from memq_schemas.points import MAX_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence


def expect_versions(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless a column of this type can be versions."""
    types = pyarrow(".types")
    whole = types.is_decimal(kind) and kind.scale <= 0
    if not (whole or types.is_integer(kind) or types.is_null(kind)):
        raise ColumnError(name, f"column {name!r} is {kind}; versions are integers")


def wire_versions(column: Any, first: int) -> Any:
    """Convert versions to the wire form. `first` is the first row. Raises InvalidPoint."""
    pa, compute = pyarrow(), pyarrow(".compute")
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.uint64())
    if pa.types.is_decimal(column.type):
        return versions_of([None if value is None else int(value) for value in column.to_pylist()], first)
    bounds = compute.min_max(column).as_py()
    if not 0 <= bounds["min"] <= bounds["max"] <= MAX_VERSION:
        return versions_of(column.to_pylist(), first)
    return column.cast(pa.uint64())


def versions_of(values: Sequence[Any], first: int) -> Any:
    """The same of Python or numpy values."""
    pa = pyarrow()
    for row, value in enumerate(values):
        whole = isinstance(value, INTEGERS) and not isinstance(value, bool)
        if value is not None and not (whole and 0 <= value <= MAX_VERSION):
            raise InvalidPoint(first + row, "version", "expected an integer between 0 and 2**53 - 1")
    return pa.array(values, pa.uint64())
