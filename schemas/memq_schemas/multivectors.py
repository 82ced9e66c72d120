"""Multivectors: rows of one length, as numbers or base64."""

from typing import Annotated, Any, cast

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from memq_schemas.vectors import BASE64_SCHEMA, MAX_DIMENSIONS, FloatArray, to_array

MAX_NUMBERS = 2**20 - 1  # of one multivector, all rows together: Qdrant's own limit

_Row = Annotated[list[float], Field(fail_fast=True, min_length=1, max_length=MAX_DIMENSIONS)]
_TextRow = Annotated[str, Field(min_length=4, json_schema_extra=BASE64_SCHEMA)]


def _as_matrix(rows: list[Any]) -> list[Any]:
    to_matrix(rows)
    return rows


def _row_kind(value: object) -> str:
    rows = cast("list[object]", value)
    return "(base64 rows)" if rows and isinstance(rows[0], str) else "(number rows)"


Multivector = Annotated[
    Annotated[list[_Row], Field(fail_fast=True, min_length=1, max_length=MAX_NUMBERS), Tag("(number rows)")]
    | Annotated[list[_TextRow], Field(fail_fast=True, min_length=1, max_length=MAX_NUMBERS), Tag("(base64 rows)")],
    Discriminator(_row_kind),
    AfterValidator(_as_matrix),
    Field(description="a multivector: rows of one length, each as numbers or each as base64 of little-endian float32"),
]


def to_matrix(rows: "list[list[float]] | list[str]") -> FloatArray:
    """Shape (rows, dimensions), float32. Raises ValueError for rows of different lengths and what `to_array` raises."""
    arrays: list[FloatArray] = []
    for index, row in enumerate(rows):
        try:
            arrays.append(to_array(row))
        except ValueError as error:
            raise ValueError(f"row {index}: {error}") from None
        check_row(index, len(arrays[index]), len(arrays[0]))
    check_rows(len(arrays), len(arrays[0]) if arrays else 0)
    return np.stack(arrays)


def check_row(index: int, numbers: int, first: int) -> None:
    """Raises ValueError for a row that is not as long as the first one."""
    if numbers != first:
        raise ValueError(f"row {index}: {numbers} numbers, but row 0 has {first}; rows have one length")


def check_rows(rows: int, numbers: int) -> None:
    """Raises ValueError for a multivector without rows, and for one that is too large."""
    if not rows:
        raise ValueError("no rows: a multivector has at least one")
    if rows * numbers > MAX_NUMBERS:
        raise ValueError(f"{rows} rows of {numbers} numbers, at most {MAX_NUMBERS} numbers are possible")
