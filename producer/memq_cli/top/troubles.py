"""Problems that an operator has to know first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memq_cli.top.frame import Frame

OLD_SECONDS = 60.0
SLOW_MS = 200.0
BUSY_LAG_SECONDS = 1.0


def troubles(frame: Frame) -> list[str]:
    """The worst first; none when all is well as far as can be seen."""
    return [*_workers(frame), *_queues(frame), *_flow(frame)]


def _workers(frame: Frame) -> list[str]:
    found: list[str] = []
    if frame.workers_up == 0:
        found.append("no worker is running")
    elif frame.workers_up is not None and frame.workers_expected and frame.workers_up < frame.workers_expected:
        found.append(f"{frame.workers_up} of {frame.workers_expected} workers are running")
    for worker in frame.workers:
        name = f"worker {worker.slot} of {worker.pool}"
        if worker.held:
            found.append(f"{name} holds its writes: Qdrant is away or takes none")
        elif worker.blocked:
            found.append(f"{name} is blocked by RabbitMQ: a memory or disk alarm")
        elif not worker.ready:
            found.append(f"{name} is not ready")
        if (worker.loop_lag_seconds or 0) > BUSY_LAG_SECONDS:
            found.append(f"{name} was stuck for {worker.loop_lag_seconds:.1f} s")
    return found


def _queues(frame: Frame) -> list[str]:
    found: list[str] = []
    for queue in frame.queues:
        if queue.role in ("write", "query") and queue.consumers == 0:
            found.append(f"nobody consumes {queue.role}")
        if queue.role == "write" and (queue.oldest_seconds or 0) > OLD_SECONDS:
            found.append(f"{queue.role} is {queue.oldest_seconds:,.0f} s behind")
        if queue.role == "suspect" and queue.ready:
            found.append(f"{_many(queue.ready, 'message')} under suspicion of killing workers")
        if queue.role == "dead" and queue.ready:
            found.append(_many(queue.ready, "dead letter"))
    return found


def _flow(frame: Frame) -> list[str]:
    return [
        f"p95 of {latency.operation} is {latency.p95_ms:,.0f} ms"
        for latency in frame.latencies
        if latency.operation in ("query", "get", "count") and (latency.p95_ms or 0) > SLOW_MS
    ]


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
