"""Columns of sparse vectors and of multivectors, as workers take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from memq.encode.arrow.library import pyarrow
from memq.errors import InvalidPoint
from memq_schemas.multivectors import check_rows
from memq_schemas.sparse_vectors import MAX_INDEX, REPEATED, check_lengths
from memq_schemas.vectors import MAX_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FIELDS = ["indices", "values"]


def is_sparse(kind: Any) -> bool:
    """Return True for a struct of indices and values that are lists of numbers."""
    types = pyarrow(".types")
    if not types.is_struct(kind) or sorted(field.name for field in kind) != _FIELDS:
        return False
    indices, values = (kind.field(name).type for name in _FIELDS)
    return is_list(indices) and is_list(values) and not is_list(values.value_type)


def is_list(kind: Any) -> bool:
    types = pyarrow(".types")
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def is_multi(kind: Any) -> bool:
    """Return True for a list of lists."""
    return is_list(kind) and is_list(kind.value_type)


def sparse_vectors(column: Any, name: str, rows: Sequence[int]) -> Any:
    """Structs of list<uint32> and list<float>. Raises InvalidPoint.

    rows: the numbers of the points; none is null.
    """
    pa = pyarrow()
    indices, values = (column.field(field) for field in _FIELDS)
    for field, part in zip(_FIELDS, (indices, values), strict=True):
        if part.null_count:
            raise InvalidPoint(rows[_first_null(part)], name, f"{field}: missing")
    counts, others = (part.value_lengths().to_numpy(zero_copy_only=False) for part in (indices, values))
    for row in np.flatnonzero((counts != others) | (counts > MAX_DIMENSIONS)):
        try:
            check_lengths(int(counts[row]), int(others[row]))
        except ValueError as error:
            raise InvalidPoint(rows[int(row)], name, str(error)) from None
    owners = np.repeat(np.arange(len(column)), counts)
    positions = _positions(indices.flatten(), name, rows, owners)
    numbers = _numbers(values.flatten(), name, rows, owners)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    lists = [pa.ListArray.from_arrays(offsets, pa.array(each)) for each in (positions, numbers)]
    return pa.StructArray.from_arrays(lists, _FIELDS)


def _first_null(array: Any) -> int:
    return int(array.is_valid().to_numpy(zero_copy_only=False).argmin())


def _positions(flat: Any, name: str, rows: Sequence[int], owners: Any) -> Any:
    expected = f"indices: expected integers from 0 to {MAX_INDEX}"
    if flat.null_count:
        raise InvalidPoint(rows[int(owners[_first_null(flat)])], name, expected)
    if not len(flat):
        return np.zeros(0, dtype=np.uint32)
    given = flat.to_numpy(zero_copy_only=False)
    bad = np.ones(len(given), dtype=bool) if given.dtype.kind not in "iu" else (given < 0) | (given > MAX_INDEX)
    if bad.any():
        raise InvalidPoint(rows[int(owners[bad.argmax()])], name, expected)
    positions = given.astype(np.uint32)
    keys = np.sort(owners.astype(np.uint64) << np.uint64(32) | positions)
    repeated = np.flatnonzero(keys[1:] == keys[:-1])
    if repeated.size:
        raise InvalidPoint(rows[int(keys[repeated[0]] >> np.uint64(32))], name, REPEATED)
    return positions


def _numbers(flat: Any, name: str, rows: Sequence[int], owners: Any) -> Any:
    if flat.null_count:
        raise InvalidPoint(rows[int(owners[_first_null(flat)])], name, "values: a number is missing")
    if not len(flat):
        return np.zeros(0, dtype=np.float32)
    given = flat.to_numpy(zero_copy_only=False)
    if given.dtype.kind not in "fiu":
        raise InvalidPoint(rows[int(owners[0])], name, "values: expected numbers")
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float32)
    finite = np.isfinite(numbers)
    if not finite.all():
        raise InvalidPoint(rows[int(owners[finite.argmin()])], name, "values: NaN, infinite or too large for float32")
    return numbers


def multivectors(column: Any, name: str, rows: Sequence[int], fixed: Callable[[Any, Sequence[int]], Any]) -> Any:
    """Lists of fixed-size lists. `rows` are the numbers of the points; none is null. Raises InvalidPoint.

    fixed: makes fixed-size lists of lists of numbers, given the point that each belongs to.
    """
    pa = pyarrow()
    counts = column.value_lengths().to_numpy(zero_copy_only=False)
    inner = column.flatten()
    owners = np.asarray(rows)[np.repeat(np.arange(len(column)), counts)]
    for row in np.flatnonzero(counts == 0):
        raise InvalidPoint(rows[int(row)], name, "no rows: a multivector has at least one")
    if inner.null_count:
        raise InvalidPoint(int(owners[_first_null(inner)]), name, "a row is missing")
    lists = fixed(inner, owners.tolist())
    for row, count in enumerate(counts.tolist()):
        try:
            check_rows(count, lists.type.list_size)
        except ValueError as error:
            raise InvalidPoint(rows[row], name, str(error)) from None
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)), lists)
