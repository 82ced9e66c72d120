"""Vectors to JSON: base64 of little-endian numbers, checked on the way."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import orjson
import pybase64

from memq.encode.sparse import is_sparse, sparse_json
from memq_schemas.multivectors import check_rows
from memq_schemas.point_vectors import is_sparse as has_both
from memq_schemas.vectors import MAX_DIMENSIONS, FloatArray, float32_bytes

FLOAT32 = np.dtype("<f4")
# Little-endian 0.0 and 1.0, found in one pass.
_ZERO_OR_ONE = re.compile(rb"\0\0(?:\0\0|\x80\x3f)").search

_NUMBERS = (np.ndarray, list)

# The text of a ValueError raised here completes "points[3].vector: ".


class VectorJson:
    """Vectors of one call: all as long as the first one, per name."""

    def __init__(self) -> None:
        self._dimensions: dict[str, int] = {}

    def __call__(self, value: object) -> bytes:
        """A vector, or an object of them for named vectors. Raises ValueError saying what is wrong."""
        if type(value) is not np.ndarray and isinstance(value, Mapping):
            named = cast("Mapping[object, object]", value)
            if not named:
                raise ValueError("no named vectors: {} is empty")
            if not has_both(named):
                return b"{" + b",".join(self._named(name, vector) for name, vector in named.items()) + b"}"
        return self.one(cast("object", value))

    def one(self, value: object, name: str = "") -> bytes:
        """One vector: base64 text, rows of them for a multivector, or an object for a sparse vector."""
        if has_rows(value):
            return self._rows(cast("Any", value), name)
        if type(value) not in _NUMBERS and is_sparse(value):
            return sparse_json(value)
        return self._dense(value, name)

    def expect(self, dimensions: int, name: str = "") -> None:
        """Raises ValueError for another length than the first one's, or an impossible one."""
        if not 0 < dimensions <= MAX_DIMENSIONS:
            raise ValueError("empty" if not dimensions else f"{dimensions} dimensions, the most are {MAX_DIMENSIONS}")
        known = self._dimensions.setdefault(name, dimensions)
        if known != dimensions:
            raise ValueError(f"{dimensions} dimensions, the vectors before it have {known}")

    def _named(self, name: object, vector: object) -> bytes:
        if not isinstance(name, str):
            raise ValueError("names of vectors are strings")  # noqa: TRY004
        try:
            return orjson.dumps(name) + b":" + self.one(vector, name)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _rows(self, rows: Any, name: str) -> bytes:
        texts: list[bytes] = []
        for index, row in enumerate(rows):
            try:
                texts.append(self._dense(row, name))
            except ValueError as error:
                raise ValueError(f"row {index}: {error}") from None
        check_rows(len(texts), self._dimensions.get(name, 0))
        return b"[" + b",".join(texts) + b"]"

    def _dense(self, value: object, name: str) -> bytes:
        vector = flat_array(value)
        self.expect(vector.size, name)
        require_finite(vector)
        return quoted_base64(vector)


def has_rows(value: object) -> bool:
    """Return True for a matrix, and for a list of rows."""
    if type(value) is np.ndarray:
        return value.ndim == 2
    if not isinstance(value, (list, tuple)):
        return False
    listed = cast("list[object]", value)
    # Almost always numbers, and asking for four types costs more.
    return bool(listed) and type(listed[0]) is not float and isinstance(listed[0], (list, tuple, str, np.ndarray))


def quoted_base64(vector: FloatArray) -> bytes:
    return b'"%b"' % pybase64.b64encode(vector.data)


def require_finite(vector: FloatArray) -> None:
    finite = np.isfinite(vector)
    # A third of the price of finite.all().
    if b"\0" in finite.tobytes():
        bad = int(np.argmin(finite))
        raise ValueError(f"number {bad} is {_name(vector[bad])}")


def flat_array(value: object) -> FloatArray:
    """Shape (dimensions,), contiguous little-endian float32. Raises ValueError for anything that is not a vector."""
    if type(value) is np.ndarray and value.dtype == FLOAT32 and value.ndim == 1 and value.flags.c_contiguous:
        return value
    if isinstance(value, str):
        return np.frombuffer(float32_bytes(value), dtype="<f4")
    if isinstance(value, (list, tuple)):
        return _from_numbers(cast("list[Any]", value))
    if value is None:
        raise ValueError("missing")
    try:
        vector = np.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(_EXPECTED) from None
    if vector.ndim != 1 or vector.dtype.kind not in "fiu":
        raise ValueError(f"{_EXPECTED}; this is {_described(vector, value)}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(vector, dtype="<f4")


_EXPECTED = "expected numbers: a list, a one-dimensional array, or base64 of float32"


def _from_numbers(numbers: list[Any]) -> FloatArray:
    try:
        # A third faster than numpy from a list, and it takes no text for numbers.
        packed = array("f", numbers)
    except (TypeError, OverflowError):
        raise ValueError(_culprit(numbers)) from None
    if sys.byteorder == "big":
        packed.byteswap()
    # A bool packs as 0 or 1. Types are looked at only where such bytes are: that costs more than the packing.
    if _ZERO_OR_ONE(packed) and bool in map(type, numbers):
        raise ValueError(_culprit(numbers))
    return np.frombuffer(packed, dtype="<f4")


def _culprit(numbers: list[Any]) -> str:
    for position, number in enumerate(numbers):
        try:
            array("f", (number,))
            refused = type(number) is bool
        except (TypeError, OverflowError):
            refused = True
        if refused:
            return f"number {position} is {type(number).__name__}, {_EXPECTED}"
    return _EXPECTED


def _described(vector: np.ndarray[Any, Any], value: object) -> str:
    if vector.ndim == 0:
        return type(value).__name__
    return f"{vector.dtype} of shape {vector.shape}"


def _name(number: Any) -> str:
    return "NaN" if np.isnan(number) else "infinite or too large for float32"
