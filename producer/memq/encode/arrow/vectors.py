from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from memq.encode.arrow.library import pyarrow
from memq.encode.arrow.vector_kinds import is_list, is_multi, is_sparse, multivectors, sparse_vectors
from memq.encode.column_names import ColumnError
from memq.encode.vectors import require_finite
from memq.errors import InvalidPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Array: TypeAlias = np.ndarray[Any, Any]

_HALF, _FULL = np.dtype("<f2"), np.dtype("<f4")
_HALF_EXPONENT = np.uint16(0x7C00)


def expect_vectors(name: str, kind: Any) -> None:
    """Raises InvalidRequest unless a column of this type can be vectors."""
    types = pyarrow(".types")
    plain = getattr(kind, "storage_type", kind)
    if types.is_null(plain):
        return
    if is_sparse(plain):
        return
    if is_multi(plain):
        plain = plain.value_type
    lists = is_list(plain)
    numbers = (types.is_floating, types.is_integer, types.is_decimal, types.is_null)
    if not lists or not any(is_it(plain.value_type) for is_it in numbers):
        raise ColumnError(
            name,
            f"column {name!r} is {kind}; vectors are lists of numbers, best fixed_size_list of float or halffloat; "
            "lists of these for a multivector, structs of indices and values for a sparse vector",
        )


def wire_vectors(column: Any, name: str, first: int, *, optional: bool, expect: Callable[[int], None]) -> Any:
    """A fixed-size list of float32, or of float16 where they came as such; lists of these for multivectors, structs for
    sparse vectors. `first` is the first row. Raises InvalidPoint.

    expect: is told the dimensions, and raises ValueError where they are not as before.
    """
    pa = pyarrow()
    column = getattr(column, "storage", column)
    if not column.null_count:
        return _wired(column, name, range(first, first + len(column)), expect)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if not optional:
        raise InvalidPoint(first + int(valid.argmin()), name, "missing")
    present = column.drop_null()
    if not len(present):
        return pa.nulls(len(column), pa.list_(pa.float32(), getattr(column.type, "list_size", 1)))
    lists = _wired(present, name, (np.flatnonzero(valid) + first).tolist(), expect)
    return lists.take(pa.array(np.cumsum(valid) - 1, mask=~valid))


def matrix_vectors(matrix: Array, first: int, expect: Callable[[int], None]) -> Any:
    """The same of the rows of a matrix of numbers."""
    pa = pyarrow()
    rows = range(first, first + len(matrix))
    _expected(matrix.shape[1], "vector", rows[0], expect)
    numbers = _wire_numbers(matrix.reshape(-1))
    _check_finite(numbers.reshape(matrix.shape), "vector", rows)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), matrix.shape[1])


def _wired(column: Any, name: str, rows: Sequence[int], expect: Callable[[int], None]) -> Any:
    """Vectors of which none is null."""
    if is_sparse(column.type):
        return sparse_vectors(column, name, rows)
    if is_multi(column.type):
        return multivectors(column, name, rows, lambda inner, owners: _lists(inner, name, owners, expect))
    return _lists(column, name, rows, expect)


def _lists(column: Any, name: str, rows: Sequence[int], expect: Callable[[int], None]) -> Any:
    pa = pyarrow()
    values = column.flatten()
    size = _size(column, name, rows, expect)
    if values.null_count:
        at = int(values.is_valid().to_numpy(zero_copy_only=False).argmin())
        raise InvalidPoint(rows[at // size], name, f"number {at % size} is missing")
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    given = values.to_numpy(zero_copy_only=False)
    numbers = _wire_numbers(given)
    _check_finite(numbers.reshape(-1, size), name, rows)
    if numbers is given and pa.types.is_fixed_size_list(column.type):
        return column
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), size)


def _size(column: Any, name: str, rows: Sequence[int], expect: Callable[[int], None]) -> int:
    if pyarrow(".types").is_fixed_size_list(column.type):
        _expected(column.type.list_size, name, rows[0], expect)
        return column.type.list_size
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    size = int(lengths[0])
    _expected(size, name, rows[0], expect)
    if (lengths != size).any():
        other = int((lengths != size).argmax())
        _expected(int(lengths[other]), name, rows[other], expect)
    return size


def _expected(size: int, name: str, row: int, expect: Callable[[int], None]) -> None:
    try:
        expect(size)
    except ValueError as error:
        raise InvalidPoint(row, name, str(error)) from None


def _wire_numbers(numbers: Array) -> Array:
    """Float16 is left as it is: half the bytes on the way, and workers widen it."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(numbers, _HALF if numbers.dtype == _HALF else _FULL)


def _check_finite(matrix: Array, name: str, rows: Sequence[int]) -> None:
    flat = matrix.reshape(-1)
    if flat.dtype == _HALF:
        if not ((flat.view(np.uint16) & _HALF_EXPONENT) == _HALF_EXPONENT).any():
            return
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            # One pass; that the sum may overflow only costs the slow look.
            if math.isfinite(flat.dot(flat)):
                return
    for row in np.flatnonzero(~np.isfinite(matrix).all(axis=1)):
        try:
            require_finite(matrix[row].astype(_FULL))
        except ValueError as error:
            raise InvalidPoint(rows[int(row)], name, str(error)) from None
