"""Sparse vectors: indices and values, as numbers or base64."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, Tag, model_validator

from memq_schemas.model import Input, by_type
from memq_schemas.vectors import BASE64_PATTERN, MAX_DIMENSIONS, FloatArray, base64_bytes, require_finite

MAX_INDEX = 2**32 - 1

IndexArray = NDArray[np.uint32]

_Index = Annotated[int, Field(ge=0, le=MAX_INDEX)]
_BASE64: Any = {"contentEncoding": "base64", "pattern": BASE64_PATTERN}
_Indices = Annotated[
    Annotated[list[_Index], Field(fail_fast=True, max_length=MAX_DIMENSIONS), Tag("(numbers)")]
    | Annotated[str, Field(json_schema_extra=_BASE64), Tag("(base64)")],
    by_type("a list of integers, or base64 text", {list: "(numbers)", str: "(base64)"}),
    Field(description="each index once, in any order; or base64 of little-endian uint32"),
]
_Values = Annotated[
    Annotated[list[float], Field(fail_fast=True, max_length=MAX_DIMENSIONS), Tag("(numbers)")]
    | Annotated[str, Field(json_schema_extra=_BASE64), Tag("(base64)")],
    by_type("a list of numbers, or base64 text", {list: "(numbers)", str: "(base64)"}),
    Field(description="one finite number for each index; or base64 of little-endian float32"),
]


class SparseVector(Input):
    """The numbers of a sparse vector that are not zero. Both lists may be empty."""

    indices: _Indices
    values: _Values
    _arrays: tuple[IndexArray, FloatArray] = PrivateAttr()

    @model_validator(mode="after")
    def _is_sparse(self) -> "SparseVector":
        self._arrays = sparse_arrays(self.indices, self.values)
        return self

    @property
    def arrays(self) -> tuple[IndexArray, FloatArray]:
        """Indices and values, as `sparse_arrays` returns them."""
        return self._arrays


def sparse_arrays(indices: "list[int] | str", values: "list[float] | str") -> tuple[IndexArray, FloatArray]:
    """Return both as arrays of equal length. Raises ValueError, which names the field."""
    found = _index_array(indices)
    numbers = _value_array(values)
    check_lengths(len(found), len(numbers))
    ascending = np.sort(found)
    if (ascending[1:] == ascending[:-1]).any():
        raise ValueError(REPEATED)
    return found, numbers


REPEATED = "indices: duplicate index; give each index once"


def check_lengths(indices: int, values: int) -> None:
    """Raises ValueError for another number of values than of indices, and for too many."""
    if indices != values:
        raise ValueError(f"values: {values}, but {indices} indices; give one value for each index")
    if indices > MAX_DIMENSIONS:
        raise ValueError(f"indices: {indices}, at most {MAX_DIMENSIONS} are possible")


def _index_array(indices: "list[int] | str") -> IndexArray:
    if isinstance(indices, str):
        return np.frombuffer(base64_bytes(indices, "indices", "uint32"), dtype="<u4")
    return np.array(indices, dtype="<u4")


def _value_array(values: "list[float] | str") -> FloatArray:
    if isinstance(values, str):
        array = np.frombuffer(base64_bytes(values, "values", "float32"), dtype="<f4")
    else:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype="<f4")
    try:
        require_finite(array)
    except ValueError as error:
        raise ValueError(f"values: {error}") from None
    return array
