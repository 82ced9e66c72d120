"""Sparse vectors to JSON: dicts, scipy's rows, and the models of qdrant_client and fastembed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pybase64

from memq_schemas.point_vectors import is_sparse as has_both
from memq_schemas.sparse_vectors import MAX_INDEX, IndexArray, sparse_arrays


def is_sparse(value: Any) -> bool:
    """Return True for a dict, and for an object that has indices and values as sparse vectors do."""
    return isinstance(value, Mapping) or hasattr(value, "indices")


def sparse_json(value: Any) -> bytes:
    """A JSON object of base64 texts. Raises ValueError naming the field."""
    indices, values = _fields(value)
    positions = _indices(indices)
    found, numbers = sparse_arrays(cast("Any", positions), values if isinstance(values, str) else _values(values))
    return b'{"indices":"%b","values":"%b"}' % (
        pybase64.b64encode(found.tobytes()),
        pybase64.b64encode(numbers.tobytes()),
    )


def _fields(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, Mapping):
        # scipy calls the values data.
        return value.indices, value.data if hasattr(value, "indptr") else value.values
    fields = cast("Mapping[str, Any]", value)
    if not has_both(fields):
        description = ", ".join(map(str, fields)) or "none"
        raise ValueError(f"expected an object of indices and values, there is {description[:100]}")
    return fields["indices"], fields["values"]


def _indices(value: Any) -> IndexArray | str:
    if isinstance(value, str):
        return value
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(_INDICES) from None
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(_INDICES)
    if given.size and (given.min() < 0 or given.max() > MAX_INDEX):
        raise ValueError(_INDICES)
    return given.astype("<u4")


_INDICES = "indices: expected a flat list or array of integers from 0 to 4294967295"


def _values(value: Any) -> Any:
    try:
        given = np.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(_VALUES) from None
    if given.ndim != 1 or (given.size and given.dtype.kind not in "fiu"):
        raise ValueError(_VALUES)
    return given


_VALUES = "values: expected a flat list or array of numbers"
