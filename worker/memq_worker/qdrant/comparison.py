"""Comparison of an existing collection with a `collections.create` that has `exist_ok`."""

from typing import Any, cast

from memq_schemas import CreateCollection, ErrorCode
from memq_worker.errors import MessageError
from memq_worker.qdrant.collections import options_of

UNNAMED = '""'
# What a vector has when its params do not say so: two collections differ in these even where one leaves them out.
_DEFAULTS: dict[str, Any] = {"datatype": "float32", "multivector_config": None}
_SPARSE_DEFAULTS: dict[str, Any] = {"modifier": "none"}
_COMPARED_APART = {"size", "distance", "exist_ok", "vectors", "sparse_vectors"}


def check_same(collection: str, wanted: CreateCollection, info: Any) -> None:
    """Raises MessageError naming the first option of `wanted` that the existing collection has otherwise.

    Vectors are compared whole, with their defaults. Other options count where `wanted` has them.
    """
    there = options_of(info.config)
    fields = wanted.model_dump(mode="json", exclude_none=True)
    vectors = {name: params.model_dump(mode="json", exclude_none=True) for name, params in wanted.by_name().items()}
    different = (
        _different_vectors("vectors", vectors, there["vectors"], _DEFAULTS)
        or _different_vectors(
            "sparse_vectors", fields.get("sparse_vectors", {}), there["sparse_vectors"], _SPARSE_DEFAULTS
        )
        or _different({name: each for name, each in fields.items() if name not in _COMPARED_APART}, there, "")
    )
    if different is not None:
        # Names and values are the sender's own words, which logs do not repeat.
        raise MessageError(
            ErrorCode.COLLECTION_EXISTS,
            "the collection exists with other options",
            stage="answer",
            answer=f"{different} in the existing collection {collection!r}",
        )


def _different_vectors(
    place: str, wanted: dict[str, Any], there: dict[str, Any], defaults: dict[str, Any]
) -> str | None:
    if wanted.keys() != there.keys():
        return f"{place}: expected {_names(there)}, the names of the vectors"
    for name, params in wanted.items():
        full = {**defaults, **params}
        found = {**defaults, **{key: value for key, value in there[name].items() if value is not None}}
        different = _different(full, found, f"{place}.{name or UNNAMED}.")
        if different is not None:
            return different
    return None


def _different(wanted: dict[str, Any], there: dict[str, Any], place: str) -> str | None:
    """Return the first field of `wanted` that `there` has otherwise, and what it has."""
    for name, value in wanted.items():
        found = there.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            different = _different(cast("dict[str, Any]", value), cast("dict[str, Any]", found), f"{place}{name}.")
            if different is not None:
                return different
        elif value != found:
            return f"{place}{name}: {_shown(value)}, and {_shown(found)}"
    return None


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _names(vectors: dict[str, Any]) -> str:
    return ", ".join(repr(name) if name else "one unnamed vector" for name in vectors) or "none"
