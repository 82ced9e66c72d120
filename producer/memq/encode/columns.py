from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

import numpy as np

from memq.encode.points import PointJson, point_json
from memq.encode.vectors import quoted_base64, require_finite
from memq.errors import InvalidPoint, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

Matrix: TypeAlias = np.ndarray[Any, Any]

# Rows converted and checked together: enough to spread numpy's cost per call, few enough to stay in the cache.
CHUNK = 128


class NamedColumns(Sequence[dict[str, Any]]):
    """Columns of vectors by name as one column. None is a point without a vector of that name.

    Raises InvalidRequest for columns of different lengths, and for none at all.
    """

    def __init__(self, by_name: dict[str, Sequence[Any]]) -> None:
        lengths = {name: len(column) for name, column in by_name.items()}
        if len(set(lengths.values())) != 1:
            description = ", ".join(f"{count} {name}" for name, count in lengths.items()) or "none"
            raise InvalidRequest(f"vectors: columns of one length are needed, by name; there are {description}")
        self._by_name = by_name
        self._length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(self._length))]
        return {name: column[index] for name, column in self._by_name.items() if column[index] is not None}


@dataclass(frozen=True, slots=True)
class Columns:
    """ids, vectors and the rest side by side, all equally long. Raises InvalidRequest if they are not."""

    ids: Sequence[Any]
    vectors: Sequence[Any] | Matrix
    payloads: Sequence[Any] | None = None
    versions: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        columns = {"ids": self.ids, "vectors": self.vectors, "payloads": self.payloads, "versions": self.versions}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            description = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise InvalidRequest(f"columns of different lengths: {description}")
        if isinstance(self.vectors, np.ndarray) and (
            self.vectors.ndim not in (2, 3) or self.vectors.dtype.kind not in "fiu"
        ):
            description = f"{self.vectors.dtype} of shape {self.vectors.shape}"
            raise InvalidRequest(
                "vectors: expected an array of numbers of shape (points, dimensions) or (points, rows, dimensions); "
                f"this is {description}"
            )

    def points(self) -> Iterator[bytes]:
        """Each point as JSON. Raises InvalidPoint."""
        encode = PointJson()
        # Python's integers come out of an array at once far cheaper than numpy's one by one.
        ids = cast("Sequence[Any]", self.ids.tolist()) if isinstance(self.ids, np.ndarray) else self.ids
        payloads = itertools.repeat(None) if self.payloads is None else self.payloads
        versions = itertools.repeat(None) if self.versions is None else self.versions
        rest = enumerate(zip(ids, payloads, versions, strict=False))
        if isinstance(self.vectors, np.ndarray) and self.vectors.ndim == 2:
            for vector, (index, (id_, payload, version)) in zip(self._texts(encode, self.vectors), rest, strict=True):
                yield point_json(index, id_, vector, payload, version)
            return
        for vector, (index, (id_, payload, version)) in zip(self.vectors, rest, strict=True):
            yield encode.row(index, (id_, vector, payload, version))

    def _texts(self, encode: PointJson, matrix: Matrix) -> Iterator[bytes]:
        for start in range(0, len(matrix), CHUNK):
            with np.errstate(over="ignore"):
                rows = np.ascontiguousarray(matrix[start : start + CHUNK], dtype="<f4")
            self._check(encode, rows, start)
            yield from map(quoted_base64, rows)

    def _check(self, encode: PointJson, rows: Matrix, start: int) -> None:
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        at = int(bad[0]) if bad.size else 0
        try:
            encode.vectors.expect(rows.shape[1])
            require_finite(rows[at])
        except ValueError as error:
            raise InvalidPoint(start + at, "vector", str(error)) from None
