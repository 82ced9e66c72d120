"""Results of a run of generated requests, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memq_cli.load.record import Figures, Summary
    from memq_cli.load.thresholds import Threshold

HEADINGS = ("", "requests", "per s", "errors", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms")
WIDTH = 100


def show(summary: Summary, thresholds: Sequence[Threshold] = ()) -> None:
    console = Console(highlight=False, soft_wrap=True)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        grid.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, figures in summary.operations.items():
        grid.add_row(name, *_cells(figures))
    grid.add_row("all", *_cells(summary.total), style="bold")
    console.print(grid, width=max(console.width, WIDTH) if console.is_terminal else WIDTH)
    if summary.codes:
        codes = ", ".join(f"{code} {count:,}" for code, count in summary.codes.items())
        console.print(Text(f"\nerrors by code: {codes}"))
    if thresholds:
        console.print()
    for threshold in thresholds:
        sign = Text("✓ ", "green") if threshold.met else Text("✗ ", "red")
        console.print(sign + Text(_said(threshold)))


def document(summary: Summary, thresholds: Sequence[Threshold] = ()) -> dict[str, Any]:
    checks = [{**asdict(threshold), "kept": threshold.met} for threshold in thresholds]
    return {**asdict(summary), **({"thresholds": checks} if thresholds else {})}


def _cells(figures: Figures) -> list[str]:
    cells = [f"{figures.requests:,}", f"{figures.per_second:,.1f}", f"{figures.errors:,}"]
    if figures.latency is None:
        return [*cells, *[""] * 5]
    return [*cells, *(f"{value:,.1f}" for value in asdict(figures.latency).values())]


def _said(threshold: Threshold) -> str:
    actual = "nothing was measured" if threshold.actual is None else f"{threshold.actual:,.2f} {threshold.unit}"
    return f"{threshold.name} < {threshold.below:g} {threshold.unit}: {actual}"
