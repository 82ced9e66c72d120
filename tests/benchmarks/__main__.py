"""Measures a worker draining full queues, and prints the figures that the README quotes."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from stack.broker import Broker, found
from tests.benchmarks.drain import Drained, drain
from tests.benchmarks.ingest import Ingested, ingest
from tests.support.broker import own_address

if TYPE_CHECKING:
    from tests.benchmarks.load import Form

WORK: tuple[tuple[Form, int, int], ...] = (
    ("base64", 600, 100),
    ("lists", 600, 100),
    ("base64", 20_000, 1),
    ("lists", 20_000, 1),
)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; medians are shown.")] = 3,
    scale: Annotated[float, typer.Option(min=0.001, help="Share of the messages to publish.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every run as JSON.")] = False,
) -> None:
    """Drain full queues with one worker process on the embedded engine: points per second and CPU per point.

    Rounds are interleaved, so that a slow minute of the machine hits every row. Takes about a minute a round.
    """
    with found() as broker, tempfile.TemporaryDirectory(prefix="memq-bench-") as directory:
        runs: list[Drained] = []
        alone: list[Ingested] = []
        for number in range(rounds):
            place = Path(directory) / str(number)
            place.mkdir()
            alone.append(asyncio.run(ingest(place, max(1, round(600 * scale)))))
            runs += _round(broker, place, scale)
        if as_json:
            figures = {"engine": [asdict(run) for run in alone], "drain": [asdict(run) for run in runs]}
            typer.echo(json.dumps({"environment": _environment(broker), **figures}))
        else:
            _show(broker, runs, alone)


def _round(broker: Broker, directory: Path, scale: float) -> list[Drained]:
    runs: list[Drained] = []
    for form, messages, points in WORK:
        with own_address(broker) as address:
            runs.append(asyncio.run(drain(address, directory, form, max(1, round(messages * scale)), points)))
    return runs


def _show(broker: Broker, runs: list[Drained], alone: list[Ingested]) -> None:
    table = Table(title="one worker process, embedded engine, wait=true, acknowledged after it is applied")
    for column in ("work", "points", "points/s", "worker CPU µs/point", "engine CPU µs/point", "worker RSS MiB"):
        table.add_column(column, justify="left" if column == "work" else "right")
    for form, _, points in WORK:
        mine = [run for run in runs if (run.form, run.points_per_message) == (form, points)]
        table.add_row(
            f"{points} a message, JSON {form}",
            f"{mine[0].points:,}",
            f"{statistics.median(run.points_per_second for run in mine):,.0f}",
            f"{statistics.median(run.worker_cpu for run in mine):.1f}",
            f"{statistics.median(run.store_cpu for run in mine):.1f}",
            f"{max(run.worker_rss_mib for run in mine):.0f}",
        )
    table.add_row(
        "engine alone, 100 a batch, 4 in flight",
        f"{alone[0].points:,}",
        f"{statistics.median(run.points_per_second for run in alone):,.0f}",
        "",
        f"{statistics.median(run.store_cpu for run in alone):.1f}",
        "",
    )
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in _environment(broker).items()))


def _environment(broker: Broker) -> dict[str, str]:
    packages = {name: version(name) for name in ("aio-pika", "qdrant-client", "qdrant-edge-py", "grpcio", "msgspec")}
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "rabbitmq": broker.version or "unknown",
        **packages,
    }


if __name__ == "__main__":
    typer.run(main)
