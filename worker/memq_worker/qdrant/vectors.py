"""The vectors of points, written as the bytes of the field `vectors`."""

from functools import lru_cache
from typing import Any

import numpy as np
from qdrant_client import grpc

from memq_worker.pipeline.store import Column, PointsBatch, RowsCell, SparseCell
from memq_worker.qdrant.protobuf import VARINTS, field, tag

_ALONE = tag(grpc.Vectors(vector=grpc.Vector()))
_NAMED = tag(grpc.Vectors(vectors=grpc.NamedVectors()))
_ENTRY = grpc.NamedVectors(vectors={"": grpc.Vector()}).SerializeToString()[:1]
_VALUE = tag(grpc.NamedVectors.VectorsEntry(value=grpc.Vector()))
_SPARSE, _MULTI = tag(grpc.Vector(sparse=grpc.SparseVector())), tag(grpc.Vector(multi_dense=grpc.MultiDenseVector()))
_VALUES = grpc.SparseVector(values=[0.0]).SerializeToString()[:1]
_INDICES = grpc.SparseVector(indices=[0]).SerializeToString()[:1]


def vectors_of(points: PointsBatch) -> list[bytes]:
    """A Vectors message of each point."""
    columns = {name: _encoded(column) for name, column in points.columns.items()}
    return [_vectors(columns, index) for index in range(len(points))]


def _vectors(columns: dict[str, list[bytes | None]], index: int) -> bytes:
    found = {name: vector for name, column in columns.items() if (vector := column[index]) is not None}
    if found.keys() == {""}:
        return field(_ALONE, found[""])
    entries: list[bytes] = []
    for name, vector in found.items():
        key = _key(name)
        size = VARINTS[len(vector)]
        entries += (_ENTRY, VARINTS[len(key) + len(size) + len(vector)], key, size, vector)
    return field(_NAMED, b"".join(entries))


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


def _sparse(cells: list[SparseCell]) -> list[bytes]:
    if not cells:
        return []
    packed, ends = _varints(b"".join(cell.indices for cell in cells))
    vectors: list[bytes] = []
    first = start = 0
    for cell in cells:
        if not cell.indices:
            vectors.append(field(_SPARSE, b""))
            continue
        first += len(cell.indices) // 4
        end = int(ends[first - 1])
        content = b"".join(
            (_VALUES, VARINTS[len(cell.values)], cell.values, _INDICES, VARINTS[end - start], packed[start:end])
        )
        vectors.append(field(_SPARSE, content))
        start = end
    return vectors


def _varints(raw: bytes) -> tuple[bytes, Any]:
    """Indices as varints end to end, and where each one ends: together they cost a tenth of one by one."""
    numbers: Any = np.frombuffer(raw, dtype="<u4")
    if not len(numbers):
        return b"", ()
    width = max(1, -(-int(numbers.max()).bit_length() // 7))
    sizes = np.ones(len(numbers), dtype=np.uint8)
    whole = np.empty((len(numbers), width), dtype=np.uint8)
    whole[:, 0] = numbers & 127
    for at in range(1, width):
        longer = numbers >= 1 << 7 * at
        sizes += longer
        whole[:, at - 1] |= longer.astype(np.uint8) << 7
        whole[:, at] = (numbers >> 7 * at) & 127
    return whole[np.arange(width) < sizes[:, None]].tobytes(), np.cumsum(sizes, dtype=np.int64)
