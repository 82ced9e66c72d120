"""What every panel of every dashboard shows before the first message and after messages of every sort.

python -m tests.benchmarks.panels            prints the tables
python -m tests.benchmarks.panels --write    puts them into docs/reference/dashboards.md
"""

from __future__ import annotations

import asyncio
import math
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grafana.generate import DASHBOARDS
from stack.broker import NoBroker, Server, private
from stack.machine import say
from stack.prometheus import NoPrometheus, Programs, found
from tests.support.observed import Observed, Values, load, observed

if TYPE_CHECKING:
    from grafana.dashboard import Dashboard
    from grafana.panel import Panel, Query
    from stack.prometheus import Series

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dashboards.md"
MARKS = re.compile(r"(?s)(<!-- panels -->\n).*(<!-- /panels -->)")
SHOWN = 4
WINDOW = "1m"
TITLES = "| panel | before the first message | after messages of every sort |"
SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))

Told = dict[tuple[str, str], Values]


def main(
    write: Annotated[bool, typer.Option("--write", help="Put the tables into docs/reference/dashboards.md.")] = False,
) -> None:
    """Start everything under a real Prometheus, and show what each panel says before and after load. Half a minute."""
    try:
        programs = found()
        with private() as (server, how), tempfile.TemporaryDirectory(prefix="memq-panels-") as home:
            say(f"memq: {how}")
            cold, loaded = asyncio.run(_told(server, programs, Path(home)))
    except (NoBroker, NoPrometheus) as error:
        say(str(error))
        raise typer.Exit(1) from error
    tables = "\n".join(_table(board, cold, loaded) for board in DASHBOARDS)
    if write:
        PAGE.write_text(MARKS.sub(lambda mark: f"{mark[1]}{tables}{mark[2]}", PAGE.read_text("utf-8")), "utf-8")
    else:
        typer.echo(tables)


async def _told(server: Server, programs: Programs, home: Path) -> tuple[Told, Told]:
    async with observed(server, programs, home) as seen:
        cold = await _asked(seen)
        await load(seen)
        return cold, await _asked(seen)


async def _asked(seen: Observed) -> Told:
    return {(board.uid, panel.title): await seen.panel(panel, WINDOW) for board in DASHBOARDS for panel in board.panels}


def _table(board: Dashboard, cold: Told, loaded: Told) -> str:
    rows = [
        f"### {board.title}",
        "",
        "| panel | before the first message | after messages of every sort |",
        "|---|---|---|",
    ]
    for row in board.rows:
        for panel in row.panels:
            key = (board.uid, panel.title)
            rows.append(f"| {panel.title} | {_shown(panel, cold[key])} | {_shown(panel, loaded[key])} |")
    return "\n".join((*rows, ""))


def _shown(panel: Panel, values: Values) -> str:
    """The largest of the series that are not 0, and how many more there are."""
    series = [
        (_legend(query, each), each.value)
        for query, found_ in zip(panel.queries, values, strict=True)
        for each in found_
    ]
    if not series:
        return "–"
    moved = sorted(((name, value) for name, value in series if value), key=lambda each: -each[1])
    if not moved:
        return _number(panel, 0.0) + (f" ({len(series)} series)" if len(series) > 1 else "")
    if len(series) == 1 and not panel.named:
        return _number(panel, moved[0][1])
    words = [f"{name} {_number(panel, value)}" for name, value in moved[:SHOWN]]
    more = len(moved) - SHOWN
    return ", ".join(words) + (f", {more} more" if more > 0 else "")


def _legend(query: Query, series: Series) -> str:
    # Where a worker was is a different port each time.
    labels = {**series.labels, "instance": "pool"}
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), query.legend)


def _number(panel: Panel, value: float) -> str:
    if panel.kind == "heatmap":
        return f"{value:.0f}"
    if panel.words:
        return dict(panel.words)[int(value)]
    match panel.unit:
        case "s":
            return f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "cps":
            return f"{value:.2g}/s"
        case "bytes":
            size, name = next(((size, name) for size, name in SIZES if value >= size), (1, "B"))
            return f"{value / size:.0f} {name}"
        case _:
            return f"{value:.0f}" if math.isclose(value, round(value)) else f"{value:.1f}"


if __name__ == "__main__":
    typer.run(main)
