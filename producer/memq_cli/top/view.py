"""Frame of the pools' metrics and the broker's queue depths."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from memq_cli.top.frame import Code, Frame, Latency, Queue, Worker
from memq_cli.top.tenants import tenants
from memq_cli.top.window import added, quantile
from memq_schemas import ErrorCode, Operation
from memq_schemas.topology import BULK, LIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memq_cli.top.broker import Depth
    from memq_cli.top.exposition import Page
    from memq_cli.top.window import Window

TAKEN = ("write", "query")


class Pool:
    """One metrics page over a window of time. name: its host and port."""

    def __init__(self, name: str, page: Page, window: Window) -> None:
        self.name = name
        self.page = page
        self.window = window

    @property
    def waiting(self) -> float:
        """Messages delivered and not settled."""
        return self.page.sum("memq_inflight_messages")

    def workers(self) -> list[Worker]:
        slots = sorted(
            (labels.get("worker", "0") for labels, _ in self.page.each("memq_ready")),
            key=lambda slot: (len(slot), slot),
        )
        return [self._worker(slot) for slot in slots]

    def _worker(self, slot: str) -> Worker:
        page, window = self.page, self.window
        return Worker(
            pool=self.name,
            slot=slot,
            ready=bool(page.one("memq_ready", worker=slot)),
            held=bool(page.one("memq_store_held", worker=slot)),
            blocked=bool(page.one("memq_amqp_blocked", worker=slot)),
            settled_per_second=window.rate("memq_messages_total", worker=slot),
            in_flight=int(page.sum("memq_inflight_messages", worker=slot)),
            prefetch=int(page.sum("memq_prefetch_messages", worker=slot)),
            cpu=window.rate("process_cpu_seconds_total", worker=slot),
            memory_bytes=page.one("process_resident_memory_bytes", worker=slot),
            loop_lag_seconds=page.one("memq_event_loop_lag_seconds", worker=slot),
        )


def frame(
    pools: Sequence[Pool], depths: Mapping[str, Depth] | None, roles: Iterable[str], growth: float | None
) -> Frame:
    """Return the frame.

    depths: None if the broker cannot be reached.   growth: change of `waiting` per second.
    """
    windows = [pool.window for pool in pools]
    settled = _settled(windows)
    return Frame(
        window_seconds=max((window.seconds for window in windows), default=0.0),
        # The live lanes come first: a caller waits for them.
        queues=[_queue(role, pools, depths) for role in sorted(roles, key=lambda role: role not in TAKEN)],
        workers=[worker for pool in pools for worker in pool.workers()],
        workers_up=_count(pools, "memq_workers"),
        workers_expected=_count(pools, "memq_workers_expected"),
        arriving_per_second=None if settled is None or growth is None else max(0.0, settled + growth),
        settled_per_second=settled,
        points_per_second=_together([window.rate("memq_points_total") for window in windows]),
        lanes={lane: _settled(windows, lane=lane) for lane in (LIVE, BULK)},
        latencies=[_latency(operation, windows) for operation in Operation] if pools else [],
        errors=_codes(pools, "memq_refusals_total"),
        dead_letters=_codes(pools, "memq_dead_letters_total"),
        tenants=tenants([pool.page for pool in pools], windows),
    )


def waiting(pools: Sequence[Pool], depths: Mapping[str, Depth] | None) -> float | None:
    """Messages in the queues that workers take from, and in their hands; None when one of both cannot be seen."""
    if not pools:
        return None
    ready = [_queue(role, pools, depths).ready for role in TAKEN]
    if None in ready:
        return None
    return sum(pool.waiting for pool in pools) + sum(count or 0 for count in ready)


def _queue(role: str, pools: Sequence[Pool], depths: Mapping[str, Depth] | None) -> Queue:
    found = Queue(
        role,
        _most(pools, "memq_queue_messages", role),
        _held(pools, role),
        _most(pools, "memq_queue_consumers", role),
        max(
            (age for pool in pools if (age := pool.page.one("memq_queue_oldest_age_seconds", queue=role)) is not None),
            default=None,
        ),
    )
    if depths is not None and role in depths:
        # The broker's numbers are newer than those of the metrics pages.
        found.ready, found.consumers = depths[role].ready, depths[role].consumers
    return found


def _most(pools: Sequence[Pool], name: str, role: str) -> int | None:
    """Return the largest value: every pool reports the same queues."""
    values = [value for pool in pools if (value := pool.page.one(name, queue=role)) is not None]
    return int(max(values)) if values else None


def _held(pools: Sequence[Pool], role: str) -> int | None:
    """Return the number of messages that the pools' workers hold of a queue; None for a queue they do not consume."""
    values = [value for pool in pools for _, value in pool.page.each("memq_inflight_messages", queue=role)]
    return int(sum(values)) if values else None


def _count(pools: Sequence[Pool], name: str) -> int | None:
    values = [value for pool in pools if (value := pool.page.one(name)) is not None]
    return int(sum(values)) if values else None


def _together(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _settled(windows: Sequence[Window], **labels: str) -> float | None:
    """Return the settled messages per second."""
    return _together([window.rate("memq_messages_total", **labels) for window in windows])


def _latency(operation: Operation, windows: Sequence[Window]) -> Latency:
    buckets = added([window.buckets("memq_message_duration_seconds", op=operation.value) for window in windows])
    p50, p95 = (quantile(share, buckets) for share in (0.5, 0.95))
    return Latency(operation.value, _settled(windows, op=operation.value), _ms(p50), _ms(p95))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _codes(pools: Sequence[Pool], name: str) -> list[Code]:
    """Codes that occurred, the most frequent first."""
    totals: dict[str, float] = defaultdict(float)
    recent: dict[str, float] = defaultdict(float)
    for pool in pools:
        for labels, value in pool.page.each(name):
            totals[labels["code"]] += value
        if pool.window.seconds > 0:
            for code, increase in pool.window.by("code", name).items():
                recent[code] += increase
    happened = [Code(code, int(total), int(recent[code])) for code, total in totals.items() if total]
    order = list(ErrorCode)
    return sorted(
        happened,
        key=lambda code: (
            -code.recent,
            -code.total,
            order.index(ErrorCode(code.code)) if code.code in set(ErrorCode) else len(order),
        ),
    )
