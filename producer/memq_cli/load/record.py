"""Outcomes of requests: counts, durations, errors."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memq.errors import (
    BrokerUnavailable,
    MemqError,
    RemoteError,
    ReplyTimeout,
    Unconfirmed,
    Unroutable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

# Beside the worker's own codes (memq_schemas.ErrorCode), what only the sender of a request can see.
CODES: dict[type[MemqError], str] = {
    ReplyTimeout: "no_answer",
    Unconfirmed: "no_confirm",
    Unroutable: "unroutable",
    BrokerUnavailable: "broker_unavailable",
}
NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, by nearest rank: times that were measured."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Figures:
    """latency: of all requests, failed ones as well; None without any."""

    requests: int
    errors: int
    per_second: float
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class Summary:
    """not_sent: requests that were due and for which there was no room; they count as errors and have no latency."""

    seconds: float
    total: Figures
    operations: dict[str, Figures]
    codes: dict[str, int]
    not_sent: int

    @property
    def error_share(self) -> float:
        due = self.total.requests + self.not_sent
        return (self.total.errors + self.not_sent) / due if due else 0.0


class Record:
    """keep: of how many requests of each operation the times are kept, the latest ones; None for all."""

    def __init__(self, keep: int | None = None) -> None:
        self.requests: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=keep))

    def add(self, operation: str, seconds: float, code: str | None = None) -> None:
        """code: of the error, if it was one."""
        self.requests[operation] += 1
        self._seconds[operation].append(seconds)
        if code is not None:
            self.errors[operation] += 1
            self.codes[code] += 1

    def not_sent(self, count: int) -> None:
        if count:
            self.codes[NOT_SENT] += count

    def summary(self, seconds: float) -> Summary:
        everything = [time for times in self._seconds.values() for time in times]
        total = _figures(self.requests.total(), self.errors.total(), everything, seconds)
        operations = {
            name: _figures(self.requests[name], self.errors[name], times, seconds)
            for name, times in sorted(self._seconds.items())
        }
        return Summary(seconds, total, operations, dict(self.codes.most_common()), self.codes[NOT_SENT])


async def code_of(request: Awaitable[object]) -> str | None:
    """None when it ended well, else the code of its error. What the caller did wrong is raised."""
    try:
        await request
    except RemoteError as error:
        return error.code
    except tuple(CODES) as error:
        return next(code for kind, code in CODES.items() if isinstance(error, kind))
    return None


def latency(seconds: Iterable[float]) -> Latency | None:
    times = np.fromiter(seconds, dtype=np.float64)
    if not times.size:
        return None
    ranks = np.percentile(times, [50, 90, 95, 99, 100], method="inverted_cdf") * 1000
    return Latency(*(float(rank) for rank in ranks))


def _figures(requests: int, errors: int, times: Iterable[float], seconds: float) -> Figures:
    return Figures(requests, errors, requests / seconds if seconds > 0 else 0.0, latency(times))
