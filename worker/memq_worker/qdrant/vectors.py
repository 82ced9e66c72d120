"""The vectors of points, written as the bytes of the field `vectors`."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

import numpy as np

from memq_qdrant import grpc
from memq_worker.pipeline.store import Column, PointsBatch, RowsCell, SparseCell
from memq_worker.qdrant.protobuf import VARINTS, field, tag

_ALONE = tag(grpc.Vectors(vector=grpc.Vector()))
_NAMED = tag(grpc.Vectors(vectors=grpc.NamedVectors()))
_ENTRY = grpc.NamedVectors(vectors={"": grpc.Vector()}).SerializeToString()[:1]
_VALUE = tag(grpc.NamedVectors.VectorsEntry(value=grpc.Vector()))
_SPARSE, _MULTI = tag(grpc.Vector(sparse=grpc.SparseVector())), tag(grpc.Vector(multi_dense=grpc.MultiDenseVector()))
_VALUES = grpc.SparseVector(values=[0.0]).SerializeToString()[:1]
_INDICES = grpc.SparseVector(indices=[0]).SerializeToString()[:1]
_ONLY_SPARSE = {SparseCell}


def vectors_of(points: PointsBatch, tag: bytes) -> list[bytes]:
    """A Vectors message of each point, as the field of this tag."""
    if len(points.columns) == 1:
        ((name, column),) = points.columns.items()
        if set(map(type, column)) == _ONLY_SPARSE and name:
            return _sparse_fields(tag, name, cast("list[SparseCell]", column))
    columns = {name: _encoded(column) for name, column in points.columns.items()}
    return [field(tag, _vectors(columns, index)) for index in range(len(points))]


def _vectors(columns: dict[str, list[bytes | None]], index: int) -> bytes:
    found = {name: vector for name, column in columns.items() if (vector := column[index]) is not None}
    if found.keys() == {""}:
        return field(_ALONE, found[""])
    return field(_NAMED, b"".join([_entry(name, vector) for name, vector in found.items()]))


def _entry(name: str, vector: bytes) -> bytes:
    key = _key(name)
    size = VARINTS[len(vector)]
    return b"".join((_ENTRY, VARINTS[len(key) + len(size) + len(vector)], key, size, vector))


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    """An entry of NamedVectors up to the length of its vector."""
    return grpc.NamedVectors.VectorsEntry(key=name).SerializeToString() + _VALUE


def _encoded(column: Column) -> list[bytes | None]:
    """The column as Vector messages."""
    sparse = iter(_sparse([cell for cell in column if isinstance(cell, SparseCell)]))
    vectors: list[bytes | None] = []
    for cell in column:
        match cell:
            case None:
                vectors.append(None)
            case SparseCell():
                vectors.append(next(sparse))
            case RowsCell():
                vectors.append(_rows(cell))
            case _:
                vectors.append(_dense_prefix(len(cell)) + cell)
    return vectors


@lru_cache(maxsize=64)
def _dense_prefix(size: int) -> bytes:
    """All of a dense Vector but the `size` bytes of its numbers, which are the last."""
    return grpc.Vector(dense=grpc.DenseVector(data=[0.0] * (size // 4))).SerializeToString()[:-size]


def _rows(cell: RowsCell) -> bytes:
    prefix = np.frombuffer(_row_prefix(cell.row_bytes), dtype=np.uint8)
    numbers = np.frombuffer(cell.numbers, dtype=np.uint8).reshape(-1, cell.row_bytes)
    whole = np.empty((len(numbers), len(prefix) + cell.row_bytes), dtype=np.uint8)
    whole[:, : len(prefix)] = prefix
    whole[:, len(prefix) :] = numbers
    return field(_MULTI, whole.tobytes())


@lru_cache(maxsize=64)
def _row_prefix(size: int) -> bytes:
    row = grpc.DenseVector(data=[0.0] * (size // 4))
    return grpc.MultiDenseVector(vectors=[row]).SerializeToString()[:-size]


def _sparse_fields(tag: bytes, name: str, cells: list[SparseCell]) -> list[bytes]:
    """Return the fields of `vectors_of` for points with a sparse vector each, and no other."""
    fields: list[bytes] = []
    for values, indices in _sparse_parts(cells):
        head, middle = _sparse_frame(tag, name, len(values), len(indices))
        fields.append(b"".join((head, values, middle, indices)))
    return fields


@lru_cache(maxsize=1024)
def _sparse_frame(tag: bytes, name: str, values: int, indices: int) -> tuple[bytes, bytes]:
    """All of such a field but its values, whose bytes follow the first part, and its indices, which end it."""
    vector = field(_SPARSE, _sparse_content(bytes(values), bytes(indices)))
    whole = field(tag, field(_NAMED, _entry(name, vector)))
    middle = _INDICES + VARINTS[indices] if values else b""
    return whole[: len(whole) - values - len(middle) - indices], middle


def _sparse(cells: list[SparseCell]) -> list[bytes]:
    return [field(_SPARSE, _sparse_content(values, indices)) for values, indices in _sparse_parts(cells)]


def _sparse_content(values: bytes | memoryview, indices: bytes) -> bytes:
    if not values:
        return b""
    return b"".join((_VALUES, VARINTS[len(values)], values, _INDICES, VARINTS[len(indices)], indices))


def _sparse_parts(cells: list[SparseCell]) -> Iterator[tuple[bytes | memoryview, bytes]]:
    """Values of each vector, and its indices as varints."""
    packed, width = _varints(b"".join([cell.indices for cell in cells]))
    start = 0
    for indices, values in cells:
        end = start + len(indices) // 4 * width
        yield values, packed[start:end]
        start = end


def _varints(raw: bytes) -> tuple[bytes, int]:
    """Indices as varints end to end, and the bytes of each: all have as many as the greatest one needs.

    A small number then has groups of zeros before its end, which readers of protobuf accept. So where each vector's
    indices begin is known without a look at them.
    """
    numbers: Any = np.frombuffer(raw, dtype="<u4")
    if not len(numbers):
        return b"", 1
    width = max(1, -(-int(numbers.max()).bit_length() // 7))
    whole = np.empty((len(numbers), width), dtype=np.uint8)
    for at in range(width):
        group = (numbers >> 7 * at if at else numbers).astype(np.uint8)
        if at < width - 1:
            group |= 128  # another one follows
        whole[:, at] = group
    return whole.tobytes(), width
