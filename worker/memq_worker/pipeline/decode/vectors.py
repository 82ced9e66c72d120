"""Vectors of a JSON upsert as columns of bytes."""

import itertools
import math
import re
import struct
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

import msgspec
import numpy as np
import pybase64

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.multivectors import check_row, check_rows, odd_row
from memq_schemas.point_vectors import is_sparse
from memq_schemas.sparse_vectors import REPEATED, SparseVector, check_lengths
from memq_schemas.vectors import MAX_DIMENSIONS, FloatArray, base64_bytes, check_name, float32_bytes
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.checks import too_many_vectors
from memq_worker.pipeline.store import Cell, Column, RowsCell, SparseCell


class WireSparse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    indices: list[int] | str
    values: list[float] | str


# Numbers, or rows of a multivector. Integers stay what they are: an unnamed sparse vector has indices among its lists.
Numbers = list[int | float | list[float] | str]
AnyVector = Numbers | str | WireSparse
_SPARSE_WEIGHT = 3  # an object and two lists
AnyVectors = Numbers | str | dict[str, AnyVector | None]


def columns_of(vectors: Iterable[Any], count: int, most: int) -> dict[str, Column]:
    """One column of `count` rows per name. Raises MessageError naming the first bad vector by the index of its point.

    vectors: per point, in order, a vector alone or a dict by name; bytes are a dense vector that is read already.
    most: limit on vectors and rows of multivectors; a sparse vector counts as three.
    """
    columns: dict[str, Column] = {}
    found = 0
    given: Iterable[tuple[str, Any]]
    for index, vector in enumerate(vectors):
        if not isinstance(vector, dict) or is_sparse(vector):
            given = (("", cast("Any", vector)),)
        else:
            named = cast("dict[str, Any]", vector)
            check_names(len(named), index)
            given = named.items()
        empty = True
        for name, value in given:
            if value is None:
                continue
            empty = False
            column = columns.get(name)
            if column is None:
                if name:
                    _check_name(name, index)
                column = columns[name] = [None] * count
            found += 1 if type(value) is bytes or type(value) is str else _weight(value)
            if found > most:
                raise too_many_vectors(most)
            column[index] = value if type(value) is bytes else _cell(value, name, index)
        if empty:
            raise MessageError(ErrorCode.EMPTY_VECTOR, f"points[{index}].vector: no vectors", stage="validate")
    return columns


def cell_of(vector: FloatArray | SparseVector) -> Cell:
    """Return the `vector` of a query as a cell."""
    if isinstance(vector, SparseVector):
        indices, values = vector.arrays
        return SparseCell(indices.tobytes(), values.tobytes())
    return vector.tobytes() if vector.ndim == 1 else RowsCell(4 * vector.shape[1], vector.tobytes())


def check_names(names: int, index: int) -> None:
    """Raise MessageError for more named vectors than a point may have."""
    if names > MAX_NAMED_VECTORS:
        raise MessageError(
            ErrorCode.INVALID_VECTOR,
            f"points[{index}].vector: {names} named vectors, at most {MAX_NAMED_VECTORS} are possible",
            stage="validate",
        )


def count_keys(vector: Any) -> int:
    """Number of keys in a `vector` field: names, and two for each sparse vector."""
    if not isinstance(vector, dict):
        return 0
    named = cast("dict[str, Any]", vector)
    return len(named) + 2 * sum(type(value) is WireSparse for value in named.values())


def _check_name(name: str, index: int) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise _invalid(index, "", str(error)) from None


def _cell(value: Any, name: str, index: int) -> Cell:
    try:
        if isinstance(value, str):
            if value:
                return _decoded(value)
        elif isinstance(value, list):
            numbers = cast("list[Any]", value)
            if numbers:
                return _rows(numbers) if isinstance(numbers[0], list | str) else _packed(numbers)
        else:
            return _sparse(value)
    except OverflowError:
        raise _invalid(index, name, "a number too large for float32") from None
    except ValueError as error:
        raise _invalid(index, name, str(error)) from None
    raise MessageError(ErrorCode.EMPTY_VECTOR, f"points[{index}].vector: no numbers", stage="validate")


def _decoded(text: str) -> bytes:
    try:
        raw = pybase64.b64decode(text, validate=True)
    except ValueError:
        return float32_bytes(text)  # says what is wrong
    return raw if raw and len(raw) % 4 == 0 else float32_bytes(text)


def _packed(numbers: list[Any]) -> bytes:
    try:
        return _packer(len(numbers), "f").pack(*numbers)
    except struct.error:
        at = next(at for at, number in enumerate(numbers) if not isinstance(number, int | float))
        raise ValueError(f"number {at}: expected a number") from None


def _rows(rows: list[Any]) -> RowsCell:
    check_rows(len(rows), 1)
    as_text = isinstance(rows[0], str)
    at = odd_row(rows)
    if at is not None and type(rows[at]) is not type(rows[0]):
        wanted = "base64 text" if as_text else "a list of numbers"
        raise ValueError(f"row {at}: expected {wanted}, as in row 0")
    if at is None and not as_text and rows[0]:
        # All numbers at once: most of what a short row costs is the call.
        check_rows(len(rows), len(rows[0]))
        try:
            numbers = itertools.chain.from_iterable(rows)
            return RowsCell(4 * len(rows[0]), struct.pack(f"<{len(rows) * len(rows[0])}f", *numbers))
        except (OverflowError, struct.error):
            pass  # found below
    if at is None and as_text:
        with suppress(ValueError):  # found below
            decoded = [pybase64.b64decode(row, validate=True) for row in rows]
            size = len(decoded[0])
            if size and size % 4 == 0 and set(map(len, decoded)) == {size}:
                check_rows(len(rows), size // 4)
                return RowsCell(size, b"".join(decoded))
    packed: list[bytes] = []
    for index in (0, at) if at else range(len(rows)):
        try:
            packed.append(_row(cast("list[float] | str", rows[index])))
        except (OverflowError, ValueError) as error:
            reason = "a number too large for float32" if isinstance(error, OverflowError) else error
            raise ValueError(f"row {index}: {reason}") from None
        check_row(index, len(packed[-1]) // 4, len(packed[0]) // 4)
    check_rows(len(packed), len(packed[0]) // 4)
    return RowsCell(len(packed[0]), b"".join(packed))


def _weight(value: Any) -> int:
    """Number of vectors that a value other than bytes or text counts as."""
    if type(value) is not list:
        return _SPARSE_WEIGHT
    rows = cast("list[Any]", value)
    return len(rows) if rows and isinstance(rows[0], list | str) else 1


def _row(row: list[float] | str) -> bytes:
    if not row:
        raise ValueError("no numbers")
    return float32_bytes(row) if isinstance(row, str) else _packer(len(row), "f").pack(*row)


def _sparse(value: Any) -> SparseCell:
    if isinstance(value, dict):
        alone = cast("dict[str, Any]", value)
        indices, values = alone["indices"], alone["values"]
    else:
        indices, values = value.indices, value.values
    positions = base64_bytes(indices, "indices", "uint32") if isinstance(indices, str) else _packed_indices(indices)
    numbers = base64_bytes(values, "values", "float32") if isinstance(values, str) else _packed_values(values)
    check_lengths(len(positions) // 4, len(numbers) // 4)
    return SparseCell(positions, numbers)


def _packed_indices(indices: Any) -> bytes:
    if isinstance(indices, list):
        try:
            return _packer(len(cast("list[Any]", indices)), "I").pack(*indices)
        except struct.error:
            pass
    raise ValueError("indices: expected integers from 0 to 4294967295, or base64 text")


def _packed_values(values: Any) -> bytes:
    if isinstance(values, list):
        try:
            return _packer(len(cast("list[Any]", values)), "f").pack(*values)
        except OverflowError:
            raise ValueError("values: a number too large for float32") from None
        except struct.error:
            pass
    raise ValueError("values: expected numbers, or base64 text")


@lru_cache(maxsize=256)
def _packer(size: int, kind: str) -> struct.Struct:
    if size > MAX_DIMENSIONS:
        raise ValueError(f"{size} numbers, at most {MAX_DIMENSIONS} are possible")
    return struct.Struct(f"<{size}{kind}")


def check_columns(columns: dict[str, Column], first: int = 0) -> None:
    """Raise MessageError for numbers that are not finite, and for a sparse vector that has an index twice.

    first: the number of the first row in the message.
    """
    for name, column in columns.items():
        sparse = [(index, cell) for index, cell in enumerate(column, first) if type(cell) is SparseCell]
        if sparse:
            _check_unique(name, sparse)
        _check_finite(name, column, first)


def _check_unique(name: str, cells: list[tuple[int, SparseCell]]) -> None:
    """One pass over the message's indices: numpy's cost per call is many times that per index."""
    joined: Any = np.frombuffer(b"".join(cell.indices for _, cell in cells), dtype="<u4")
    counts = np.array([len(cell.indices) // 4 for _, cell in cells])
    row = np.repeat(np.arange(len(cells), dtype=np.uint64), counts)
    keys = row << np.uint64(32) | joined
    if (keys[1:] > keys[:-1]).all():
        return  # as most clients send them
    keys.sort()
    repeated = np.flatnonzero(keys[1:] == keys[:-1])
    if repeated.size:
        index, _ = cells[int(keys[repeated[0]] >> np.uint64(32))]
        raise _invalid(index, name, REPEATED)


def _check_finite(name: str, column: Column, first: int) -> None:
    # One pass over the message's vectors, as above.
    rows = [_numbers(cell) for cell in column if cell is not None]
    numbers = np.frombuffer(rows[0] if len(rows) == 1 else b"".join(rows), dtype="<f4")
    # A sum of squares is one pass where isfinite().all() is two calls; that it may overflow only costs the slow
    # look. Of the products np.vdot is the one that does not warn of it.
    if math.isfinite(np.vdot(numbers, numbers)):
        return
    for index, cell in enumerate(column, first):
        if cell is not None and not np.isfinite(np.frombuffer(_numbers(cell), dtype="<f4")).all():
            raise _invalid(index, name, "NaN or infinite")


def _numbers(cell: Cell) -> bytes | memoryview:
    return cell if isinstance(cell, bytes | memoryview) else cell[1]


_STEP = re.compile(r"(?:row (\d+)|(indices|values)): ")


def _invalid(index: int, name: str, reason: str) -> MessageError:
    # The name is the sender's own word: he sees it again, logs and dead letters do not.
    step = _STEP.match(reason)
    inner = "" if step is None else f"[{step[1]}]" if step[1] else f".{step[2]}"
    text = f"{inner}: {reason[step.end() if step else 0 :]}"
    place = f"points[{index}].vector"
    answer = f"{place}.{name[:100]}{text}" if name else None
    return MessageError(
        ErrorCode.INVALID_VECTOR, f"{place}{'.?' if name else ''}{text}", stage="validate", answer=answer
    )
