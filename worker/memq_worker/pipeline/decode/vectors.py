"""Vectors of a JSON upsert as columns of bytes."""

import itertools
import math
import re
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pybase64

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.multivectors import check_row, check_rows, odd_row
from memq_schemas.point_vectors import is_sparse
from memq_schemas.sparse_vectors import REPEATED, SparseVector
from memq_schemas.vectors import FloatArray, check_name, float32_bytes
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.checks import too_many_vectors
from memq_worker.pipeline.decode.packed import packer
from memq_worker.pipeline.decode.sparse import WireSparse, repeating_row, sparse_cell, sparse_cells
from memq_worker.pipeline.store import Cell, Column, RowsCell, SparseCell

# Numbers, or rows of a multivector. Integers stay what they are: an unnamed sparse vector has indices among its lists.
Numbers = list[int | float | list[float] | str]
AnyVector = Numbers | str | WireSparse
_SPARSE_WEIGHT = 3  # an object and two lists
AnyVectors = Numbers | str | dict[str, AnyVector | None]


def columns_of(vectors: Sequence[Any], most: int) -> dict[str, Column]:
    """One column per name, with a row per point. Raises MessageError naming the point of the first bad vector by index.

    vectors: per point, in order, a vector alone or a dict by name; bytes are a dense vector that is read already.
    most: limit on vectors and rows of multivectors; a sparse vector counts as three.
    """
    return _sparse_column(vectors, most) or _columns(vectors, most)


def _sparse_column(vectors: Sequence[Any], most: int) -> dict[str, Column] | None:
    """Return the column of points with one sparse vector each, if `sparse_cells` reads them."""
    if not vectors or type(vectors[0]) is not dict or len(vectors) * _SPARSE_WEIGHT > most:
        return None
    name: str = next(iter(cast("dict[str, Any]", vectors[0])), "")
    cells = sparse_cells(vectors, name)
    if cells is None:
        return None
    _check_name(name, 0)
    return {name: [*cells]}


def _columns(vectors: Sequence[Any], most: int) -> dict[str, Column]:
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
                column = columns[name] = [None] * len(vectors)
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
    keys = len(named)
    for value in named.values():
        if type(value) is WireSparse:
            keys += 2
    return keys


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
            return sparse_cell(value)
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
        return packer(len(numbers), "f").pack(*numbers)
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
    return float32_bytes(row) if isinstance(row, str) else packer(len(row), "f").pack(*row)


def check_columns(columns: dict[str, Column], first: int = 0) -> None:
    """Raise MessageError for numbers that are not finite, and for a sparse vector that has an index twice.

    first: the number of the first row in the message.
    """
    for name, column in columns.items():
        if SparseCell in set(map(type, column)):
            _check_unique(name, column, first)
        _check_finite(name, column, first)


def _check_unique(name: str, column: Column, first: int) -> None:
    rows = [index for index, cell in enumerate(column) if type(cell) is SparseCell]
    repeating = repeating_row([cast("SparseCell", column[row]) for row in rows])
    if repeating is not None:
        raise _invalid(first + rows[repeating], name, REPEATED)


def _check_finite(name: str, column: Column, first: int) -> None:
    # One pass over the message's vectors.
    rows = [cell[1] if isinstance(cell, tuple) else cell for cell in column if cell is not None]
    numbers = np.frombuffer(rows[0] if len(rows) == 1 else b"".join(rows), dtype="<f4")
    # A sum of squares is one pass where isfinite().all() is two calls; that it may overflow only costs the slow
    # look. Of the products np.vdot is the one that does not warn of it.
    if math.isfinite(np.vdot(numbers, numbers)):
        return
    places = [index for index, cell in enumerate(column, first) if cell is not None]
    for index, row in zip(places, rows, strict=True):
        if not np.isfinite(np.frombuffer(row, dtype="<f4")).all():
            raise _invalid(index, name, "NaN or infinite")


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
