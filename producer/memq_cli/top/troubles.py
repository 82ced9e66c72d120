"""Problems that an operator has to know first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq_cli.top.frame import Frame, Worker

OLD_SECONDS = 60.0
SLOW_MS = 200.0
BUSY_LAG_SECONDS = 1.0
STALLED_SECONDS = 5.0
CONSUMED = ("write", "query", "write.bulk")
WAITED_FOR = ("write", "query")


def troubles(frame: Frame) -> list[str]:
    """Return the problems, the most severe first; an empty list if none is visible."""
    return [*_workers(frame), *_queues(frame), *_stuck(frame), *_flow(frame)]


def _workers(frame: Frame) -> list[str]:
    found: list[str] = []
    if frame.workers_up == 0:
        found.append("no worker is running")
    elif frame.workers_up is not None and frame.workers_expected and frame.workers_up < frame.workers_expected:
        found.append(f"{frame.workers_up} of {frame.workers_expected} workers are running")
    found += _of_workers(frame, lambda worker: worker.held, "writes held, Qdrant unavailable")
    found += _of_workers(frame, lambda worker: worker.blocked, "blocked by RabbitMQ, memory or disk alarm")
    found += _of_workers(frame, _unready, "not ready")
    return found


def _unready(worker: Worker) -> bool:
    return not (worker.ready or worker.held or worker.blocked)


def _of_workers(frame: Frame, affected: Callable[[Worker], bool], problem: str) -> list[str]:
    names = [f"worker {worker.slot} of {worker.pool}" for worker in frame.workers if affected(worker)]
    if len(names) > 1:
        return [f"{len(names)} of {len(frame.workers)} workers: {problem}"]
    return [f"{name}: {problem}" for name in names]


def _queues(frame: Frame) -> list[str]:
    found: list[str] = []
    for queue in frame.queues:
        if queue.role in WAITED_FOR and queue.consumers == 0:
            found.append(f"{queue.role}: no consumer")
        if queue.role == "write" and (queue.oldest_seconds or 0) > OLD_SECONDS:
            found.append(f"{queue.role} is {queue.oldest_seconds:,.0f} s behind")
        if queue.role == "suspect" and queue.ready:
            found.append(f"{_many(queue.ready, 'message')} suspected of ending workers")
        if queue.role == "dead" and queue.ready:
            found.append(_many(queue.ready, "dead letter"))
    waiting = sum(queue.ready or 0 for queue in frame.queues if queue.role.startswith("retry."))
    return [*found, f"{_many(waiting, 'message')} in retry queues"] if waiting else found


def _stuck(frame: Frame) -> list[str]:
    """Deliveries that no worker settles; none while writes are held or blocked, which is reported as such."""
    if frame.window_seconds < STALLED_SECONDS or frame.settled_per_second != 0:
        return []
    if any(worker.held or worker.blocked for worker in frame.workers):
        return []
    return [
        f"{queue.role}: {_many(queue.unacknowledged, 'message')} unacknowledged, none settled in "
        f"{frame.window_seconds:.0f} s"
        for queue in frame.queues
        if queue.role in CONSUMED and queue.unacknowledged
    ]


def _flow(frame: Frame) -> list[str]:
    lagging = [worker for worker in frame.workers if (worker.loop_lag_seconds or 0) > BUSY_LAG_SECONDS]
    found = [
        f"worker {worker.slot} of {worker.pool}: event loop stuck for {worker.loop_lag_seconds:.1f} s"
        for worker in lagging
    ]
    found += [
        f"p95 of {latency.operation} is {latency.p95_ms:,.0f} ms"
        for latency in frame.latencies
        if latency.operation in ("query", "get", "count") and (latency.p95_ms or 0) > SLOW_MS
    ]
    return found


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
