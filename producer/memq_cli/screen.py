"""The picture of `memq top`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from memq_cli.units import age

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from memq_cli.top.frame import Code, Frame, Queue

UNKNOWN = "–"
SPACED_HEIGHT = 30  # lines of a terminal with room for empty ones
TROUBLES = 6
WORKERS = 6
TENANTS = 6
MIB = 2**20


def picture(frame: Frame, at: datetime, *, height: int | None = None, keys: str | None = None) -> RenderableType:
    """Return the picture: problems first, then rates, queues, workers, latencies and codes.

    at: time of the reading.   height: lines of the terminal; None for no limit.   keys: what the keys do.
    """
    space = [Text()] if height is None or height >= SPACED_HEIGHT else []
    parts: list[RenderableType] = [_health(frame), *(Text(text, "dim") for text in frame.unseen)]
    parts += [_clock(frame, at, keys)]
    if frame.dark:
        return Group(*parts)
    parts += [_flow(frame), *space, _queues(frame)]
    if frame.workers:
        parts += [*space, _workers(frame), *space, _latencies(frame), *space, _codes(frame)]
        if frame.tenants:
            parts += [*space, _tenants(frame)]
    return Group(*parts)


def _health(frame: Frame) -> Text:
    if frame.troubles:
        lines = [f"✗ {trouble}" for trouble in frame.troubles[:TROUBLES]]
        if len(frame.troubles) > TROUBLES:
            lines.append(f"  and {len(frame.troubles) - TROUBLES} more")
        return Text("\n").join(Text(line, "bold red") for line in lines)
    if frame.dark:
        return Text("? no metrics and no broker to read", "bold red")
    if frame.unseen:
        return Text("? no problem in what could be read", "bold yellow")
    return Text("✓ no problem", "bold green")


def _clock(frame: Frame, at: datetime, keys: str | None) -> Text:
    known = frame.workers_up is not None
    up = f"{frame.workers_up} of {_number(frame.workers_expected)}" if known else f"{UNKNOWN} of {UNKNOWN}"
    parts = [Text(f"{at:%H:%M:%S}", "bold"), Text.assemble("workers ", (up, "bold"))]
    return Text("   ").join([*parts, *([Text(keys, "dim")] if keys else [])])


def _flow(frame: Frame) -> Text:
    cells = {
        "in": frame.arriving_per_second,
        "settled": frame.settled_per_second,
        **frame.lanes,
        "points": frame.points_per_second,
    }
    return Text("   ").join(Text.assemble(f"{name} ", (_rate(value), "bold")) for name, value in cells.items())


def _queues(frame: Frame) -> RenderableType:
    grid = _table("queue", "ready", "unacked", "consumers", "oldest")
    hidden = 0
    for queue in frame.queues:
        if not queue.ready and _is_tier(queue):
            hidden += 1
            continue
        numbers = (queue.ready, queue.unacknowledged, queue.consumers)
        grid.add_row(queue.role, *map(_number, numbers), _age(queue.oldest_seconds))
    return Group(grid, Text(f"{hidden} retry and internal queues without messages", "dim")) if hidden else grid


def _is_tier(queue: Queue) -> bool:
    return queue.role == "store" or "retry." in queue.role


def _workers(frame: Frame) -> RenderableType:
    grid = _table("worker", "state", "settled", "in flight", "cpu", "memory", "loop lag")
    many = len({worker.pool for worker in frame.workers}) > 1
    shown = sorted(frame.workers, key=lambda worker: worker.ready and not (worker.held or worker.blocked))[:WORKERS]
    for worker in shown:
        state, style = _state(worker.ready, worker.held, worker.blocked)
        grid.add_row(
            f"{worker.pool} {worker.slot}" if many else worker.slot,
            Text(state, style),
            _rate(worker.settled_per_second),
            f"{worker.in_flight:,} of {worker.prefetch:,}",
            UNKNOWN if worker.cpu is None else f"{worker.cpu:.0%}",
            UNKNOWN if worker.memory_bytes is None else f"{worker.memory_bytes / MIB:,.0f} MiB",
            _ms(None if worker.loop_lag_seconds is None else worker.loop_lag_seconds * 1000),
        )
    if more := len(frame.workers) - len(shown):
        return Group(grid, Text(f"and {more} more", "dim"))
    return grid


def _latencies(frame: Frame) -> RenderableType:
    seen = [latency for latency in frame.latencies if latency.p50_ms is not None]
    if not seen:
        what = f"no message settled in {frame.window_seconds:.0f} s" if frame.window_seconds else "no rates yet"
        return Text(what, "dim")
    grid = _table("operation", "settled", "p50", "p95")
    for latency in seen:
        grid.add_row(latency.operation, _rate(latency.per_second), _ms(latency.p50_ms), _ms(latency.p95_ms))
    return grid


def _tenants(frame: Frame) -> RenderableType:
    grid = _table("tenant", "settled", "ready", "p95", "limits reached")
    for tenant in frame.tenants[:TENANTS]:
        limited = ", ".join(f"{limit} {times:,}" for limit, times in sorted(tenant.limited.items()))
        grid.add_row(tenant.name, _rate(tenant.settled_per_second), _number(tenant.ready), _ms(tenant.p95_ms), limited)
    if more := len(frame.tenants) - TENANTS:
        return Group(grid, Text(f"and {more} more", "dim")) if more > 0 else grid
    return grid


def _codes(frame: Frame) -> RenderableType:
    tables = [
        _counted(heading, codes)
        for heading, codes in (("refused", frame.errors), ("dead letters", frame.dead_letters))
        if codes
    ]
    return Columns(tables, padding=(0, 6)) if tables else Text("no errors since the workers started", "dim")


def _counted(heading: str, codes: Sequence[Code]) -> Table:
    grid = _table(heading, "now", "in all")
    for code in codes:
        grid.add_row(code.code, f"{code.recent:,}", f"{code.total:,}", style="" if code.recent else "dim")
    return grid


def _table(*headings: str) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold cyan")
    for number, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return grid


def _state(ready: bool, held: bool, blocked: bool) -> tuple[str, str]:
    if held:
        return "held", "red"
    if blocked:
        return "blocked", "red"
    return ("ready", "green") if ready else ("not ready", "red")


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}/s"


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f} ms"


def _age(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else age(seconds)
