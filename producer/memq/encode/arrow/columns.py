"""Columns of Python and numpy values to columns as workers take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from memq.encode.arrow import payloads
from memq.encode.arrow.ids import alike, ids_of
from memq.encode.arrow.library import installed, pyarrow
from memq.encode.arrow.messages import ROWS
from memq.encode.arrow.vectors import matrix_vectors
from memq.encode.arrow.versions import versions_of
from memq.encode.vectors import VectorJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memq.encode.columns import Columns, Matrix

# With fewer points in a message JSON costs a worker less.
WORTHWHILE = 32


def fits(columns: Columns, max_points: int) -> bool:
    """Return True if these columns fit Arrow messages and are cheaper in that form."""
    worthwhile = min(len(columns.ids), max_points) >= WORTHWHILE
    matrix = isinstance(columns.vectors, np.ndarray) and columns.vectors.ndim == 2
    return worthwhile and matrix and installed() and alike(columns.ids)


def from_columns(columns: Columns, position: int = 0) -> Iterator[Any]:
    """Record batches of at most 1000 points, from a matrix and ids that are alike. Raises InvalidPoint.

    position: of the first point in its call.
    """
    expect = VectorJson().expect
    matrix = cast("Matrix", columns.vectors)
    for start in range(0, len(columns.ids), ROWS):
        part, first = slice(start, start + ROWS), position + start
        table = {"id": ids_of(columns.ids[part], first), "vector": matrix_vectors(matrix[part], first, expect)}
        if columns.payloads is not None:
            table["payload"] = payloads.objects(columns.payloads[part], first)
        if columns.versions is not None:
            table["version"] = versions_of(columns.versions[part], first)
        yield pyarrow().record_batch(table)
