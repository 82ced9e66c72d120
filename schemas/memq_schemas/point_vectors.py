"""The vectors of a point: one alone, or several by name."""

from typing import Annotated, Any, cast

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic.config import JsonDict

from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.multivectors import Multivector
from memq_schemas.sparse_vectors import SparseVector
from memq_schemas.vectors import Base64, Numbers, VectorName

SPARSE = frozenset({"indices", "values"})


def is_sparse(fields: Any) -> bool:
    """Return True for an object of just `indices` and `values`."""
    return fields.keys() == SPARSE


def _kind(value: object) -> str | None:
    if isinstance(value, list):
        rows = cast("list[object]", value)
        return "(rows)" if rows and isinstance(rows[0], list | str) else "(numbers)"
    if isinstance(value, str):
        return "(base64)"
    if isinstance(value, np.ndarray):
        return "(rows)"  # decoded already
    return "(sparse)" if isinstance(value, dict | SparseVector) else None


def _kind_or_named(value: object) -> str | None:
    """An object of just `indices` and `values` is a sparse vector; any other one has vectors by name."""
    if isinstance(value, dict) and not is_sparse(cast("Any", value)):
        return "(named)"
    return _kind(cast("object", value))


_KINDS = "a list of numbers, base64 text, rows of them, or an object of indices and values"
OneVector = Annotated[
    Annotated[Numbers, Tag("(numbers)")]
    | Annotated[Base64, Tag("(base64)")]
    | Annotated[Multivector, Tag("(rows)")]
    | Annotated[SparseVector, Tag("(sparse)")],
    Discriminator(_kind, custom_error_type="type", custom_error_message=f"expected {_KINDS}"),
]


def _given(vectors: object) -> object:
    if not isinstance(vectors, dict):
        return vectors
    named = cast("dict[str, Any]", vectors)
    if len(named) > MAX_NAMED_VECTORS:
        raise ValueError(f"{len(named)} named vectors, at most {MAX_NAMED_VECTORS} are possible")
    given = {name: vector for name, vector in named.items() if vector is not None}
    if not given:
        raise ValueError("no vectors")
    return given


def _named_schema(schema: JsonDict) -> None:
    schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], {"type": "null"}]}
    schema["maxProperties"] = MAX_NAMED_VECTORS
    # At least one that is not null, and not an object that is a sparse vector.
    sparse: JsonDict = {"required": ["indices", "values"], "maxProperties": 2}
    schema["not"] = {"anyOf": [{"additionalProperties": {"type": "null"}}, sparse]}


_Named = Annotated[
    dict[VectorName, OneVector],
    BeforeValidator(_given),
    Field(description="named vectors; null is the same as leaving a name out", json_schema_extra=_named_schema),
]
Vector = Annotated[
    Annotated[Numbers, Tag("(numbers)")]
    | Annotated[Base64, Tag("(base64)")]
    | Annotated[Multivector, Tag("(rows)")]
    | Annotated[SparseVector, Tag("(sparse)")]
    | Annotated[_Named, Tag("(named)")],
    Discriminator(
        _kind_or_named,
        custom_error_type="type",
        custom_error_message=f"expected {_KINDS}, or an object of named vectors",
    ),
]
