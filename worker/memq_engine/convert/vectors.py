from array import array
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..proto import messages
from ..refusal import invalid, unserved

DEFAULT = ""


class VectorContract:
    """The vector names of a collection with their sizes, and the bytes a well-formed default vector starts with."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.head = b""
        self.length = -1
        size = sizes.get(DEFAULT, 0)
        if size:
            sample = messages.Vectors()
            sample.vector.dense.data.extend([0.0] * size)
            encoded: bytes = sample.SerializeToString()
            self.head = encoded[: -4 * size]
            self.length = len(encoded)

    def read(self, encoded: bytes, index: int) -> Any:
        """A point's `vectors` field. Refuses what the engine would refuse only after applying part of the batch."""
        vectors = messages.Vectors.FromString(encoded)
        kind = vectors.WhichOneof("vectors_options")
        if kind is None:
            raise invalid("Expected some vectors")
        if kind == "vector":
            return self._checked(DEFAULT, read_dense(vectors.vector), f"points[{index}].vector.vector")
        return {
            name: self._checked(name, read_dense(vector), f"points[{index}].vector.vectors.{name}")
            for name, vector in vectors.vectors.vectors.items()
        }

    def _checked(self, name: str, vector: "array[float]", path: str) -> "array[float]":
        if not vector:
            raise invalid(f"Wrong input: {path}: dense vector must not be empty")
        expected = self.sizes.get(name)
        if expected is None:
            raise invalid(f"Wrong input: Not existing vector name error: {name}")
        if len(vector) != expected:
            suffix = f" for vector '{name}'" if name else ""
            raise invalid(f"Wrong input: Vector dimension error: expected dim: {expected}, got {len(vector)}{suffix}")
        return vector


def read_dense(vector: Any) -> "array[float]":
    """The floats of a Vector, in either of the two ways clients have written dense vectors."""
    kind = vector.WhichOneof("vector")
    if kind == "dense":
        return floats(vector.dense)
    if kind is not None:
        raise unserved(f"A vector of kind {kind}")
    if vector.HasField("indices") or vector.HasField("vectors_count"):
        raise unserved("A sparse or multi vector")
    return array("f", vector.data)


def floats(dense: Any) -> "array[float]":
    # Packed floats are the tail of the encoded message; iterating over the repeated field costs ten times as much.
    vector = array("f")
    if len(dense.data):
        vector.frombytes(dense.SerializeToString()[-4 * len(dense.data) :])
    return vector


def write_vectors(target: Any, vector: Any) -> None:
    if isinstance(vector, dict):
        named = cast("Mapping[str, Sequence[float]]", vector)
        for name, values in named.items():
            target.vectors.vectors.vectors[name].dense.data.extend(values)
    elif vector is not None:
        target.vectors.vector.dense.data.extend(vector)
