"""The picture of `memq top`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from memq_cli.top.frame import Code, Frame

UNKNOWN = "–"
MIB = 2**20


def picture(frame: Frame) -> RenderableType:
    parts: list[RenderableType] = [_health(frame), *(Text(text, "dim") for text in frame.unseen)]
    if frame.dark:
        return Group(*parts)
    parts += [Text(), _flow(frame), Text(), _queues(frame)]
    if frame.workers:
        parts += [Text(), _workers(frame), Text(), _latencies(frame), Text(), _codes(frame)]
    return Group(*parts)


def _health(frame: Frame) -> Text:
    if frame.troubles:
        return Text("\n").join(Text(f"✗ {trouble}", "bold red") for trouble in frame.troubles)
    if frame.dark:
        return Text("? nothing can be seen", "bold red")
    if frame.unseen:
        return Text("? nothing wrong in what can be seen", "bold yellow")
    return Text("✓ all is well", "bold green")


def _flow(frame: Frame) -> Text:
    up = (
        f"{UNKNOWN} of {UNKNOWN}"
        if frame.workers_up is None
        else f"{frame.workers_up} of {_number(frame.workers_expected)}"
    )
    cells = {
        "in": _rate(frame.arriving_per_second),
        "settled": _rate(frame.settled_per_second),
        "points": _rate(frame.points_per_second),
        "workers": up,
    }
    return Text("   ").join(Text.assemble(f"{name} ", (value, "bold")) for name, value in cells.items())


def _queues(frame: Frame) -> Table:
    grid = _table("queue", "ready", "consumers", "oldest")
    for queue in frame.queues:
        style = "dim" if not queue.ready and queue.role.startswith("retry") else ""
        grid.add_row(
            queue.role, _number(queue.ready), _number(queue.consumers), _age(queue.oldest_seconds), style=style
        )
    return grid


def _workers(frame: Frame) -> Table:
    grid = _table("worker", "state", "settled", "in flight", "cpu", "memory", "loop lag")
    many = len({worker.pool for worker in frame.workers}) > 1
    for worker in frame.workers:
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
    return grid


def _latencies(frame: Frame) -> RenderableType:
    seen = [latency for latency in frame.latencies if latency.p50_ms is not None]
    if not seen:
        what = f"nothing settled in the last {frame.window_seconds:.0f} s" if frame.window_seconds else "no rates yet"
        return Text(what, "dim")
    grid = _table("operation", "settled", "p50", "p95")
    for latency in seen:
        grid.add_row(latency.operation, _rate(latency.per_second), _ms(latency.p50_ms), _ms(latency.p95_ms))
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
    return UNKNOWN if seconds is None else f"{seconds:,.0f} s"
