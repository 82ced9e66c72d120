"""Rates and quantiles between two readings of counters that may have started again in between."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memq_cli.top.exposition import Page

Key: TypeAlias = frozenset[tuple[str, str]]


class Window:
    """Two pages of one pool, `seconds` apart; 0 when there is only one, and then no rate is known."""

    def __init__(self, old: Page, new: Page) -> None:
        self.seconds = new.at - old.at
        self._old, self._new = old, new

    def increase(self, name: str, **labels: str) -> float:
        """Sum of the series with these labels."""
        return sum(self.increases(name, **labels).values())

    def increases(self, name: str, **labels: str) -> dict[Key, float]:
        before = {frozenset(found.items()): value for found, value in self._old.each(name, **labels)}
        result: dict[Key, float] = {}
        for found, value in self._new.each(name, **labels):
            key = frozenset(found.items())
            earlier = before.get(key, 0.0)
            # Less than before is a worker that has started again, from 0.
            result[key] = value - earlier if value >= earlier else value
        return result

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Increases by the values of one label."""
        result: dict[str, float] = defaultdict(float)
        for key, increase in self.increases(name, **labels).items():
            result[dict(key).get(label, "")] += increase
        return dict(result)

    def rate(self, name: str, **labels: str) -> float | None:
        return self.increase(name, **labels) / self.seconds if self.seconds > 0 else None

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """Observations at or below each edge."""
        edges = self.by("le", f"{name}_bucket", **labels)
        return {float(edge): count for edge, count in edges.items()}


def added(many: Sequence[Mapping[float, float]]) -> dict[float, float]:
    result: dict[float, float] = defaultdict(float)
    for buckets in many:
        for edge, count in buckets.items():
            result[edge] += count
    return dict(result)


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """Quantile by linear interpolation, like Prometheus' histogram_quantile; None without observations.

    In the bucket without an upper edge: the highest edge there is.
    """
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0
    if total <= 0:
        return None
    rank = share * total
    for low, high in itertools.pairwise((0.0, *edges)):
        if buckets[high] >= rank:
            if math.isinf(high):
                return low
            below = buckets.get(low, 0.0)
            inside = buckets[high] - below
            return low + (high - low) * ((rank - below) / inside if inside else 0.0)
    return None
