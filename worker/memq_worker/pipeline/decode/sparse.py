"""Sparse vectors of a JSON upsert."""

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import msgspec
import numpy as np
import pybase64

from memq_schemas.sparse_vectors import check_lengths
from memq_schemas.vectors import MAX_DIMENSIONS, base64_bytes
from memq_worker.pipeline.decode.packed import packer
from memq_worker.pipeline.store import SparseCell


class WireSparse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    indices: list[int] | str
    values: list[float] | str


def sparse_cell(value: Any) -> SparseCell:
    """Return one sparse vector: WireSparse, or a dict of the same fields. Raises ValueError, which names the field."""
    if isinstance(value, dict):
        alone = cast("dict[str, Any]", value)
        indices, values = alone["indices"], alone["values"]
    else:
        indices, values = value.indices, value.values
    positions = base64_bytes(indices, "indices", "uint32") if isinstance(indices, str) else _packed_indices(indices)
    numbers = base64_bytes(values, "values", "float32") if isinstance(values, str) else _packed_values(values)
    check_lengths(len(positions) // 4, len(numbers) // 4)
    return SparseCell(positions, numbers)


def sparse_cells(vectors: Sequence[Any], name: str) -> list[SparseCell] | None:
    """Return the vectors of points that have one sparse vector each, of this name and in base64.

    Decoding them side by side takes half the time of one after another. None for other points, and if a vector is
    wrong: `sparse_cell` names the reason.
    """
    if set(map(type, vectors)) != {dict} or set(map(len, vectors)) != {1}:
        return None
    sparse = [vector.get(name) for vector in vectors]
    if set(map(type, sparse)) != {WireSparse}:
        return None
    both = [vector.indices for vector in sparse], [vector.values for vector in sparse]
    if set(map(type, both[0])) != {str} or set(map(type, both[1])) != {str}:
        return None
    decoded = pybase64.b64decode
    try:
        indices, values = ([decoded(text, validate=True) for text in texts] for texts in both)
    except ValueError:
        return None
    sizes = list(map(len, indices))
    if sizes != list(map(len, values)) or max(sizes) > 4 * MAX_DIMENSIONS or any(size % 4 for size in set(sizes)):
        return None
    return list(map(SparseCell, indices, values))


def repeating_row(cells: Sequence[SparseCell]) -> int | None:
    """Return the number of the first vector that has an index twice, or None.

    One pass over all indices: numpy's cost per call is many times that per index.
    """
    raw = [cell.indices for cell in cells]
    joined: Any = np.frombuffer(b"".join(raw), dtype="<u4")
    counts = [len(each) // 4 for each in raw]
    ascending = joined[1:] > joined[:-1]
    # Between two vectors any order will do.
    ascending[[end - 1 for end in accumulate(counts) if 0 < end < len(joined)]] = True
    if ascending.all():
        return None  # the order in which most clients send them
    row = np.repeat(np.arange(len(cells), dtype=np.uint64), counts)
    keys = row << np.uint64(32) | joined
    keys.sort()
    repeated = np.flatnonzero(keys[1:] == keys[:-1])
    return int(keys[repeated[0]] >> np.uint64(32)) if repeated.size else None


def _packed_indices(indices: Any) -> bytes:
    if isinstance(indices, list):
        try:
            return packer(len(cast("list[Any]", indices)), "I").pack(*indices)
        except struct.error:
            pass
    raise ValueError("indices: expected integers from 0 to 4294967295, or base64 text")


def _packed_values(values: Any) -> bytes:
    if isinstance(values, list):
        try:
            return packer(len(cast("list[Any]", values)), "f").pack(*values)
        except OverflowError:
            raise ValueError("values: a number too large for float32") from None
        except struct.error:
            pass
    raise ValueError("values: expected numbers, or base64 text")
