"""Multivectors: rows of one length, as numbers or base64."""

import itertools
from typing import Annotated, Any, cast

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, PlainSerializer, Tag

from memq_schemas.vectors import BASE64_SCHEMA, MAX_DIMENSIONS, FloatArray, to_array, to_numbers

MAX_NUMBERS = 2**20 - 1  # of one multivector, all rows together: Qdrant's own limit
MAX_ROWS = 2**15
_LARGEST = float(np.finfo(np.float32).max)

_Row = Annotated[list[float], Field(fail_fast=True, min_length=1, max_length=MAX_DIMENSIONS)]
_TextRow = Annotated[str, Field(min_length=4, json_schema_extra=BASE64_SCHEMA)]


def _row_kind(value: object) -> str:
    rows = cast("list[object]", value)
    return "(base64 rows)" if rows and isinstance(rows[0], str) else "(number rows)"


def to_matrix(rows: "list[list[float]] | list[str]") -> FloatArray:
    """Shape (rows, dimensions), float32. Raises ValueError for rows of different lengths and what `to_array` raises."""
    check_rows(len(rows), 1)
    at = odd_row(rows)
    if at is None and isinstance(rows[0], list):
        # All numbers at once: a call of numpy costs as much as many short rows.
        numbers = np.array(list(itertools.chain.from_iterable(cast("list[list[float]]", rows))), dtype=np.float64)
        if numbers.size and (np.abs(numbers) <= _LARGEST).all():
            check_rows(len(rows), len(rows[0]))
            return numbers.astype("<f4").reshape(len(rows), -1)
    arrays: list[FloatArray] = []
    for index in (0, at) if at else range(len(rows)):
        try:
            arrays.append(to_array(rows[index]))
        except ValueError as error:
            raise ValueError(f"row {index}: {error}") from None
        check_row(index, len(arrays[-1]), len(arrays[0]))
    check_rows(len(arrays), len(arrays[0]))
    return np.stack(arrays)


def odd_row(rows: list[Any]) -> int | None:
    """Return the first row that is of another type or length than row 0; None if there is none."""
    if len(set(map(type, rows))) == 1 and len(set(map(len, rows))) == 1:
        return None
    first = rows[0]
    return next(at for at, row in enumerate(rows) if type(row) is not type(first) or len(row) != len(first))


def check_row(index: int, numbers: int, first: int) -> None:
    """Raises ValueError for a row that is not as long as the first one."""
    if numbers != first:
        raise ValueError(f"row {index}: {numbers} numbers, but row 0 has {first}; rows have one length")


def check_rows(rows: int, numbers: int) -> None:
    """Raises ValueError for a multivector without rows, and for one that is too large."""
    if not rows:
        raise ValueError("no rows: a multivector has at least one")
    if rows > MAX_ROWS:
        raise ValueError(f"{rows} rows, at most {MAX_ROWS} are possible")
    if rows * numbers > MAX_NUMBERS:
        raise ValueError(f"{rows} rows of {numbers} numbers, at most {MAX_NUMBERS} numbers are possible")


Multivector = Annotated[
    Annotated[list[_Row], Field(fail_fast=True, min_length=1, max_length=MAX_ROWS), Tag("(number rows)")]
    | Annotated[list[_TextRow], Field(fail_fast=True, min_length=1, max_length=MAX_ROWS), Tag("(base64 rows)")],
    Discriminator(_row_kind),
    AfterValidator(to_matrix),
    PlainSerializer(to_numbers),
    Field(description="a multivector: rows of one length, each as numbers or each as base64 of little-endian float32"),
]
