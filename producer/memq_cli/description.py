"""A collection as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memq_schemas import CollectionDescription, SparseVectorParams, VectorParams


def description_rows(found: CollectionDescription) -> list[list[str]]:
    rows = [["name", found.name], ["status", found.status], ["points", str(found.points)]]
    rows += [["vector", _dense(name, params)] for name, params in found.vectors.items()]
    rows += [["vector", _sparse(name, params)] for name, params in found.sparse_vectors.items()]
    if found.indexed_vectors:
        rows.append(["indexed vectors", str(found.indexed_vectors)])
    rows += [["index", f"{key}: {index.type}, {index.points} points"] for key, index in found.indexes.items()]
    rows += [["alias", alias] for alias in found.aliases or ()]
    if found.optimizer != "ok":
        rows.append(["optimizer", found.optimizer])
    return rows + [["warning", warning] for warning in found.warnings]


def _dense(name: str, params: VectorParams) -> str:
    kind = ", list of vectors" if params.multivector_config is not None else ""
    datatype = f", {params.datatype}" if params.datatype is not None else ""
    return f"{f'{name}: ' if name else ''}{params.size} dimensions, {params.distance}{kind}{datatype}"


def _sparse(name: str, params: SparseVectorParams) -> str:
    return f"{name}: sparse" + (f", {params.modifier}" if params.modifier not in (None, "none") else "")
