"""Columns of vectors in an Arrow message: dense, sparse and multivectors, as they lie in its memory."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from memq_schemas import ErrorCode
from memq_schemas.multivectors import check_rows
from memq_schemas.sparse_vectors import check_lengths
from memq_schemas.vectors import MAX_DIMENSIONS
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.vectors import check_columns
from memq_worker.pipeline.store import Cell, Column, RowsCell, SparseCell

_EXPECTED = (
    "expected fixed_size_list<float> or fixed_size_list<halffloat>, a list of these for a multivector, or a struct of "
    "indices (list of integers) and values (list of float or halffloat) for a sparse vector"
)
_FIELDS = ["indices", "values"]


def vectors(pa: Any, column: Any, name: str, first: int) -> Column:
    """Vectors of one column; `first` is the number of its first row in the message. Raises MessageError."""
    kind = column.type
    if column.null_count and name == "vector":
        raise MessageError(ErrorCode.EMPTY_VECTOR, f"{name}: {column.null_count} rows without one", stage="validate")
    if _is_row(pa, kind):
        return _dense(column, name)
    if pa.types.is_struct(kind) and sorted(field.name for field in kind) == _FIELDS:
        read = _sparse(pa, column, name, first)
    elif _is_list(pa, kind) and _is_row(pa, kind.value_type):
        read = _multi(column, name, first)
    else:
        raise MessageError(ErrorCode.INVALID, f"{name}: {_EXPECTED}; got {str(kind)[:80]}", stage="validate")
    check_columns({name.removeprefix("vector").removeprefix("."): read}, first)
    return read


def _is_list(pa: Any, kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_row(pa: Any, kind: Any) -> bool:
    return pa.types.is_fixed_size_list(kind) and _is_float(pa, kind.value_type)


def _is_float(pa: Any, kind: Any) -> bool:
    return pa.types.is_float32(kind) or pa.types.is_float16(kind)


def _size(kind: Any, name: str) -> int:
    size: int = kind.list_size
    if not size:
        raise MessageError(ErrorCode.EMPTY_VECTOR, f"{name}: no numbers", stage="validate")
    if size > MAX_DIMENSIONS:
        raise _invalid(f"{name}: {size} numbers, at most {MAX_DIMENSIONS} are possible")
    return size


def _dense(column: Any, name: str) -> Column:
    size = _size(column.type, name)
    values = column.flatten()  # of the rows that are not null
    array = _numbers(values, name)
    _check_finite(array.reshape(-1, size), name)
    raw, step = memoryview(array).cast("B"), 4 * size  # the message's own memory, not a copy, unless it was widened
    rows = (raw[at : at + step] for at in range(0, len(raw), step))
    if not column.null_count:
        return list(rows)
    return [next(rows) if valid else None for valid in column.is_valid().to_pylist()]


def _numbers(values: Any, name: str) -> Any:
    if values.null_count:
        raise _invalid(f"{name}: a null among the numbers")
    return np.ascontiguousarray(values.to_numpy(), dtype="<f4")


def _check_finite(matrix: Any, name: str) -> None:
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise _invalid(f"{name}: not finite in its row {row}")


def _sparse(pa: Any, column: Any, name: str, first: int) -> Column:
    indices, values = column.field("indices"), column.field("values")
    lists = _is_list(pa, indices.type) and _is_list(pa, values.type)
    if not (lists and pa.types.is_integer(indices.type.value_type) and _is_float(pa, values.type.value_type)):
        raise MessageError(ErrorCode.INVALID, f"{name}: {_EXPECTED}; got {str(column.type)[:80]}", stage="validate")
    try:
        positions: Any = _used(indices).cast(pa.uint32())
    except pa.ArrowInvalid:
        raise _invalid(f"{name}.indices: expected integers from 0 to 4294967295") from None
    if positions.null_count:
        raise _invalid(f"{name}.indices: a null among the integers")
    given: Any = np.ascontiguousarray(positions.to_numpy(), dtype="<u4")
    raw = memoryview(given).cast("B")
    numbers = memoryview(_numbers(_used(values), f"{name}.values")).cast("B")
    bounds, others = _bounds(indices), _bounds(values)
    alike = bounds == others and not (column.null_count or indices.null_count or values.null_count)
    if alike and max((stop - start for start, stop in bounds), default=0) <= MAX_DIMENSIONS:
        return [SparseCell(raw[4 * start : 4 * stop], numbers[4 * start : 4 * stop]) for start, stop in bounds]
    cells: Column = []
    for row, valid in enumerate(column.is_valid().to_pylist()):
        if not valid:
            cells.append(None)
            continue
        (start, stop), (begin, end) = bounds[row], others[row]
        try:
            _check_row(indices, values, row)
            check_lengths(stop - start, end - begin)
        except ValueError as error:
            raise _placed(first + row, name, error) from None
        cells.append(SparseCell(raw[4 * start : 4 * stop], numbers[4 * begin : 4 * end]))
    return cells


def _check_row(indices: Any, values: Any, row: int) -> None:
    for field, part in zip(_FIELDS, (indices, values), strict=True):
        if part.null_count and not part[row].is_valid:
            raise ValueError(f"{field}: missing")


def _multi(column: Any, name: str, first: int) -> Column:
    size = _size(column.type.value_type, name)
    rows = _used(column)
    if rows.null_count:
        raise _invalid(f"{name}: a null among the rows")
    raw = memoryview(_numbers(rows.flatten(), name)).cast("B")
    step = 4 * size
    valid = column.is_valid().to_pylist()

    def cells() -> Iterator[Cell | None]:
        for row, (start, stop) in enumerate(_bounds(column)):
            if not valid[row]:
                yield None
                continue
            try:
                check_rows(stop - start, size)
            except ValueError as error:
                raise _placed(first + row, name, error) from None
            yield RowsCell(step, raw[step * start : step * stop])

    return list(cells())


def _used(lists: Any) -> Any:
    """The items of all lists, from the first one on."""
    offsets = lists.offsets
    start, stop = offsets[0].as_py(), offsets[len(offsets) - 1].as_py()
    return lists.values.slice(start, stop - start)


def _bounds(lists: Any) -> list[tuple[int, int]]:
    """Where the items of each list begin and end among those of `_used`."""
    offsets: Any = lists.offsets.to_numpy()
    ends: list[int] = (offsets - offsets[0]).tolist()
    return list(itertools.pairwise(ends))


def _placed(index: int, name: str, error: ValueError) -> MessageError:
    place = "vector" if name == "vector" else "vector.?"
    answer = f"points[{index}].{name[:100]}: {error}"
    return MessageError(ErrorCode.INVALID_VECTOR, f"points[{index}].{place}: {error}", stage="validate", answer=answer)


def _invalid(message: str) -> MessageError:
    return MessageError(ErrorCode.INVALID_VECTOR, message, stage="validate")
