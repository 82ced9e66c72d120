"""One reading of memq, as numbers. None stands for an unknown number."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Queue:
    """State of a queue.

    ready: messages waiting for a worker.   unacknowledged: messages that workers hold.
    oldest_seconds: age of the oldest ready message.
    """

    role: str
    ready: int | None = None
    unacknowledged: int | None = None
    consumers: int | None = None
    oldest_seconds: float | None = None


@dataclass(slots=True)
class Worker:
    """pool: host and port of its metrics.   cpu: share of one core.   in_flight, prefetch: of writes and requests."""

    pool: str
    slot: str
    ready: bool
    held: bool
    blocked: bool
    settled_per_second: float | None
    in_flight: int
    prefetch: int
    cpu: float | None
    memory_bytes: float | None
    loop_lag_seconds: float | None


@dataclass(slots=True)
class Latency:
    """Latency of one operation in milliseconds from receipt to settlement; None without messages in the window."""

    operation: str
    per_second: float | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(slots=True)
class Code:
    """total: since the workers started.   recent: in the window."""

    code: str
    total: int
    recent: int


@dataclass(slots=True)
class Tenant:
    """Traffic of a tenant; `other` adds up those without metrics of their own.

    ready: messages in lanes of its own.   p95_ms: delay of its writes from publish to settlement.
    limited: times that it reached a limit in the window, by the limit's name.
    """

    name: str
    settled_per_second: float | None
    ready: int | None
    p95_ms: float | None
    limited: dict[str, int]


@dataclass(slots=True)
class Frame:
    """Queues, workers and rates of one reading.

    window_seconds: span of the rates, latencies and recent numbers; 0 after a single reading.
    lanes: settled messages per second by lane.   tenants: the busiest first.   unseen: sources that could not be read.
    """

    window_seconds: float
    queues: list[Queue]
    workers: list[Worker]
    workers_up: int | None
    workers_expected: int | None
    arriving_per_second: float | None
    settled_per_second: float | None
    points_per_second: float | None
    lanes: dict[str, float | None]
    latencies: list[Latency]
    errors: list[Code]
    dead_letters: list[Code]
    tenants: list[Tenant] = field(default_factory=list[Tenant])
    unseen: list[str] = field(default_factory=list[str])
    troubles: list[str] = field(default_factory=list[str])

    @property
    def dark(self) -> bool:
        """Return True if no source could be read."""
        return not self.workers and all(queue.ready is None for queue in self.queues)
