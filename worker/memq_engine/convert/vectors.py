from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import qdrant_edge as edge

from ..proto import messages
from ..refusal import invalid, invalid_field
from .documents import embed_document

DEFAULT = ""
MIXED_SPARSE = "Wrong input: Conversion between sparse and regular vectors failed"
_MAX_NUMBERS = 2**20 - 1  # of one multivector
MIXED_MULTI = "Wrong input: Conversion between multi and regular vectors failed"


class VectorContract:
    """The vectors of a collection: dense ones with their sizes, which of them are multivectors, and sparse names.

    The engine panics on a sparse vector of unequal lengths, on ragged rows and on an empty row, after it has written
    the operation to its WAL, and then panics at every start. `read` is the gate that no such vector passes.
    """

    def __init__(self, sizes: Mapping[str, int], multi: Collection[str] = (), sparse: Collection[str] = ()) -> None:
        self.sizes = sizes
        self.multi = frozenset(multi)
        self.sparse = frozenset(sparse)
        self.head = b""
        self.length = -1
        size = sizes.get(DEFAULT, 0)
        if size and DEFAULT not in self.multi:
            sample = messages.Vectors()
            sample.vector.dense.data.extend([0.0] * size)
            encoded: bytes = sample.SerializeToString()
            self.head = encoded[: -4 * size]
            self.length = len(encoded)

    def read(self, encoded: bytes, index: int) -> Any:
        """Return the engine's form of an encoded `vectors` field. Raises Refused before a batch is applied."""
        return self.read_message(messages.Vectors.FromString(encoded), index)

    def check_names(self, names: Collection[str]) -> None:
        """Raises Refused for a name that the collection has no vector of."""
        for name in names:
            if name not in self.sizes and name not in self.sparse:
                raise invalid(f"Wrong input: Not existing vector name error: {name}")

    def read_message(self, vectors: Any, index: int) -> Any:
        kind = vectors.WhichOneof("vectors_options")
        if kind is None:
            raise invalid("Expected some vectors")
        if kind == "vector":
            if vectors.vector.WhichOneof("vector") == "sparse" or vectors.vector.HasField("indices"):
                raise invalid("Sparse vector must be named")
            return self._read(DEFAULT, vectors.vector, index, "vector")
        return {
            name: self._read(name, vector, index, f"vectors.{name}") for name, vector in vectors.vectors.vectors.items()
        }

    def _read(self, name: str, vector: Any, index: int, path: str) -> Any:
        value = read_vector(vector, f"points[{index}].vectors.vectors_options.vectors.[]")
        if isinstance(value, array) and not value:
            raise invalid(f"Wrong input: points[{index}].vector.{path}: dense vector must not be empty")
        return self.fitted(name, value)

    def fitted(self, name: str, value: Any, *, querying: bool = False) -> Any:
        """Return `value` as the engine takes it for this name. Raises Refused if it is of another kind."""
        if name in self.sparse:
            if not isinstance(value, edge.SparseVector):
                raise invalid(MIXED_SPARSE)
            return value
        expected = self.sizes.get(name)
        if expected is None:
            raise invalid(f"Wrong input: Not existing vector name error: {name}")
        if isinstance(value, edge.SparseVector):
            raise invalid(MIXED_SPARSE)
        listed: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        if len(listed[0]) != expected:
            suffix = f" for vector '{name}'" if name and not querying else ""
            raise invalid(
                f"Wrong input: Vector dimension error: expected dim: {expected}, got {len(listed[0])}{suffix}"
            )
        if name in self.multi:
            return listed
        if isinstance(value, list):
            raise invalid(MIXED_MULTI)
        return value


def read_vector(vector: Any, path: str) -> Any:
    """A Vector in either form that clients write: array of floats, edge.SparseVector, or list of equal rows."""
    match vector.WhichOneof("vector"):
        case "dense":
            return floats(vector.dense)
        case "sparse":
            return sparse(vector.sparse.indices, vector.sparse.values, path)
        case "multi_dense":
            return rows(vector.multi_dense.vectors, path)
        case "document":
            return embed_document(vector.document)
        case None:
            return _deprecated(vector, path)
        case other:
            raise invalid(f"Vectors of kind {other} need an inference service")


def _deprecated(vector: Any, path: str) -> Any:
    if vector.HasField("indices"):
        return sparse(vector.indices.data, vector.data, path)
    values = array("f", vector.data)
    count = vector.vectors_count if vector.HasField("vectors_count") else 0
    if not count:
        return values
    size = len(values) // count
    if not size or len(values) % count:
        details = f'{{"vector_len": Number({len(values)}), "vectors_count": Number({count})}}'
        problem = f"Validation error: invalid dense vector length for vectors count [{details}]"
        raise invalid_field(f"{path}.data", problem)
    return [values[start : start + size] for start in range(0, len(values), size)]


def sparse(indices: Sequence[int], values: Sequence[float], path: str) -> edge.SparseVector:
    """Raises Refused for repeated indices, and for another number of values than of indices."""
    if len(indices) != len(values):
        raise invalid_field(f"{path}.values", "Validation error: must be the same length as indices [{}]")
    listed = list(indices)
    if len(set(listed)) != len(listed):
        raise invalid_field(f"{path}.indices", "Validation error: must be unique [{}]")
    return edge.SparseVector(listed, list(values))


def rows(vectors: Any, path: str) -> list[Any]:
    """The rows of a multivector. Raises Refused for none, for empty ones and for unequal ones."""
    read = [floats(row) for row in vectors]
    if not read:
        raise invalid_field(f"{path}.data", "multi vector must not be empty")
    size = len(read[0])
    for row in read:
        if not row:
            raise invalid_field(f"{path}.data", "all vectors must be non-empty")
        if len(row) != size:
            problem = f"all vectors must have the same dimension, found vector with dimension {len(row)}"
            raise invalid_field(f"{path}.data", problem)
    if size * len(read) > _MAX_NUMBERS:
        problem = f"Total size of all vectors ({size * len(read)}) must be less than {_MAX_NUMBERS + 1}"
        raise invalid_field(f"{path}.data", problem)
    return read


def floats(dense: Any) -> "array[float]":
    # Packed floats are the tail of the encoded message; iterating over the repeated field costs ten times as much.
    vector = array("f")
    if len(dense.data):
        vector.frombytes(dense.SerializeToString()[-4 * len(dense.data) :])
    return vector


def write_vectors(target: Any, vector: Any) -> None:
    """Write the vectors of a stored point; an empty dict is a point without any, None one whose were not asked for."""
    if vector is None:
        return
    if not isinstance(vector, dict):
        _write(target.vectors.vector, vector)
        return
    named = cast("Mapping[str, Any]", vector)
    if len(named) == 1 and DEFAULT in named:
        _write(target.vectors.vector, named[DEFAULT])
        return
    target.vectors.vectors.SetInParent()
    for name, value in named.items():
        _write(target.vectors.vectors.vectors[name], value)


def _write(target: Any, value: Any) -> None:
    if isinstance(value, edge.SparseVector):
        target.sparse.SetInParent()
        target.sparse.indices.extend(value.indices)
        target.sparse.values.extend(value.values)
    elif value and isinstance(value[0], list):
        for row in cast("list[list[float]]", value):
            target.multi_dense.vectors.add().data.extend(row)
    else:
        target.dense.data.extend(value)
