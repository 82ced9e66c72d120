"""Thresholds of a load test, and their evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memq_cli.load.record import Summary

P95_MS = 200.0
ERROR_PERCENT = 1.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """actual: None when nothing was measured, which keeps no promise."""

    name: str
    unit: str
    below: float
    actual: float | None

    @property
    def met(self) -> bool:
        return self.actual is not None and self.actual < self.below


def thresholds(summary: Summary, p95_ms: float = P95_MS, error_percent: float = ERROR_PERCENT) -> list[Threshold]:
    """Totals of all requests."""
    total = summary.total
    due = total.requests + summary.not_sent
    return [
        Threshold("p95", "ms", p95_ms, total.latency.p95 if total.latency else None),
        Threshold("errors", "%", error_percent, summary.error_share * 100 if due else None),
    ]
