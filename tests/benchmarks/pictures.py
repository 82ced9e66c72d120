"""Pictures of every dashboard: before the first message, under load, and while the store is down.

python -m tests.benchmarks.pictures     writes docs/reference/pictures/*.png; about five minutes
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer
from memq_amqp import stopped

from grafana.generate import DASHBOARDS
from grafana.picture.page import write
from memq import MemqError, Producer
from stack.broker import NoBroker, Server, private
from stack.machine import say
from stack.prometheus import NoPrometheus, Programs, found
from tests.support.observed import Observed, expressions, observed, substituted
from tests.support.until import until

if TYPE_CHECKING:
    from grafana.dashboard import Dashboard
    from grafana.panel import Panel
    from stack.prometheus import Curve

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "pictures"
STEP = 2.0  # seconds, as often as everything is scraped
WINDOW = "10s"
MOMENTS = {
    "cold": ("before the first message", 60),
    "load": ("under load", 180),
    "outage": ("the store is down", 300),
}
LOAD_SECONDS = 120.0
DIMENSIONS = 64
WRITES_AT_ONCE = 4
NAME = "instance"


def main() -> None:
    """Start everything under a real Prometheus, break the store, and draw each page three times."""
    logging.disable(logging.CRITICAL)
    try:
        programs = found()
        with private() as (server, how), tempfile.TemporaryDirectory(prefix="memq-pictures-") as home:
            say(f"memq: {how}")
            asyncio.run(_drawn(server, programs, Path(home)))
            FOLDER.mkdir(exist_ok=True)
            for path in Path(home).glob("*.png"):
                shutil.copy(path, FOLDER)
    except (NoBroker, NoPrometheus) as error:
        say(str(error))
        raise typer.Exit(1) from error


async def _drawn(server: Server, programs: Programs, home: Path) -> None:
    async with observed(server, programs, home) as seen:
        await asyncio.sleep(MOMENTS["cold"][1] / 2)
        await _moment(seen, home, "cold")
        async with Producer(seen.amqp_url, timeout=10, name="memq pictures") as producer:
            await producer.collections.create("docs", DIMENSIONS)
            tasks = [asyncio.create_task(_write(producer)), asyncio.create_task(_ask(producer))]
            tasks.append(asyncio.create_task(_mistake(producer)))
            await asyncio.sleep(LOAD_SECONDS)
            await _moment(seen, home, "load")
            await asyncio.to_thread(seen.engine.kill)
            await until(lambda: _fires(seen, "QdrantDown"), within=240, every=1)
            await until(lambda: _fires(seen, "HighErrorRate"), within=240, every=1)
            await _moment(seen, home, "outage")
            await stopped(*tasks)


async def _write(producer: Producer) -> None:
    """Publish messages of 20 points; memq.write fills while nobody takes them."""
    number = 0
    while True:
        number += 20
        await producer.upsert("docs", ids=range(number, number + 20), vectors=np.ones((20, DIMENSIONS)))
        await asyncio.sleep(0.05)


async def _ask(producer: Producer) -> None:
    while True:
        with suppress(MemqError):
            await producer.query("docs", [1.0] * DIMENSIONS, limit=3)
            await producer.scroll("docs", limit=5)
            await producer.count("docs")
        await asyncio.sleep(0.05)


async def _mistake(producer: Producer) -> None:
    """Ask with a wrong vector now and then."""
    while True:
        with suppress(MemqError):
            await producer.query("docs", [1.0, 0.0])
        await asyncio.sleep(2)


async def _fires(seen: Observed, alert: str) -> bool:
    return bool(await seen.value(f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'))


async def _moment(seen: Observed, home: Path, name: str) -> None:
    title, span = MOMENTS[name]
    end = time.time()
    for board in DASHBOARDS:
        answers = {panel.title: await _answers(seen, panel, end, span) for panel in _open(board)}
        marks = await _marks(seen, board, end, span)
        path = home / f"{board.uid.removeprefix('memq-')}-{name}.png"
        await asyncio.to_thread(write, path, board, title, answers, marks, span)
        say(f"memq: {path.name}, {path.stat().st_size // 1000} kB")


def _open(board: Dashboard) -> list[Panel]:
    return [panel for row in board.rows if not row.collapsed for panel in row.panels]


async def _answers(seen: Observed, panel: Panel, end: float, span: float) -> list[list[Curve]]:
    span = 0 if panel.kind in ("stat", "table") else span
    found = [await seen.prometheus.over(each, end, span, STEP) for each in expressions(panel, WINDOW)]
    # Ports differ from run to run.
    return [[_named(curve) for curve in curves] for curves in found]


def _named(curve: Curve) -> Curve:
    if NAME in curve.labels:
        curve.labels[NAME] = "pool"
    return curve


async def _marks(seen: Observed, board: Dashboard, end: float, span: float) -> list[float]:
    """Seconds before `end` at which a critical alert began to fire."""
    (annotation,) = board.lowered()["annotations"]["list"]
    curves = await seen.prometheus.over(substituted(annotation["expr"]), end, span, STEP)
    begun = [curve.times[~np.isnan(curve.values)] for curve in curves]
    return [-float(times[0]) for times in begun if len(times)]


if __name__ == "__main__":
    typer.run(main)
