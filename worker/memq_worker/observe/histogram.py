from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """One series of a histogram: its buckets, each for itself, and its sum, within a slot's numbers."""

    __slots__ = ("_edges", "_first", "_numbers", "_sum")

    def __init__(self, numbers: "memoryview[float]", first: int, edges: tuple[float, ...]) -> None:
        self._numbers = numbers
        self._first = first
        self._edges = edges
        self._sum = first + len(edges) + 1

    def observe(self, value: float, times: int = 1) -> None:
        numbers = self._numbers
        numbers[self._first + bisect_left(self._edges, value)] += times
        numbers[self._sum] += value * times

    def observe_all(self, values: Sequence[float]) -> None:
        numbers, first, edges = self._numbers, self._first, self._edges
        for value in values:
            numbers[first + bisect_left(edges, value)] += 1
        numbers[self._sum] += sum(values)
