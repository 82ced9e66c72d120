from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Histogram:
    """One series of a histogram: its buckets, each for itself, and its sum, within a slot's numbers."""

    __slots__ = ("_counts", "_edges", "_edges_array", "_first", "_numbers", "_sum")

    def __init__(self, numbers: "memoryview[float]", first: int, edges: tuple[float, ...]) -> None:
        self._numbers = numbers
        self._first = first
        self._edges = edges
        self._edges_array = np.array(edges)
        self._sum = first + len(edges) + 1
        self._counts: Values = np.asarray(numbers)[first : self._sum]

    def observe(self, value: float, times: int = 1) -> None:
        numbers = self._numbers
        numbers[self._first + bisect_left(self._edges, value)] += times
        numbers[self._sum] += value * times

    def observe_all(self, values: Values) -> None:
        """Costs the less a value the more there are; a single one costs less in `observe`."""
        self._counts += np.bincount(self._edges_array.searchsorted(values), minlength=len(self._counts))
        self._numbers[self._sum] += float(values.sum())
