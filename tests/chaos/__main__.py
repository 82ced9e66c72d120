"""Runs experiments at length, prints their figures, and keeps the table of docs/explanation/guarantees.md."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.broker import Broker, Server, private
from tests.chaos import table
from tests.chaos.catalogue import EXPERIMENTS, Experiment
from tests.chaos.missing import Missing
from tests.chaos.mutants import MUTANTS
from tests.chaos.scene import Ground, Plan

if TYPE_CHECKING:
    from tests.chaos.figures import Figures

DOCUMENT = Path(__file__).parents[2] / "docs" / "explanation" / "guarantees.md"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _list(wanted: bool) -> None:
    if wanted:
        for experiment in EXPERIMENTS.values():
            typer.echo(f"{experiment.name:14} {experiment.what}")
        raise typer.Exit


@app.command()
def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="Which; all unless given.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of every random choice; a new one is drawn and shown if not given.")
    ] = None,
    messages: Annotated[
        int | None, typer.Option(min=1, help="To send, instead of the experiment's own number.")
    ] = None,
    kills: Annotated[int | None, typer.Option(min=1, help="Faults of each kind, likewise.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long faults go on, where time is the measure.")
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="Interpreter of the workers, with memq's dependencies; this one if not given.")
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="As small as in the tests.")] = False,
    mutant: Annotated[
        str | None, typer.Option(help="With this defect in the worker: the checks have to go red.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the figures into docs/explanation/guarantees.md.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures and violations as JSON lines.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", callback=_list, is_eager=True, help="Name the experiments and exit.")
    ] = False,
) -> None:
    """Break things on purpose and count what is lost.

    Each experiment sends numbered messages, notes each before it is sent and after it is confirmed, injects its faults,
    lets the queues drain, and then compares the notes with every point in the store, every dead letter and every queue:
    lost (confirmed, and nowhere), duplicated in effect, let through (stored, and should not be).

    scripts/chaos                           everything, about twenty minutes
    scripts/chaos kills --kills 500         one, at length
    scripts/chaos kills --seed 7            the same random choices as a run that showed seed 7
    scripts/chaos disorder --short --mutant "versions are not compared"

    Exit codes: 0 nothing found, 1 a violation, 2 wrong use.
    """
    # Connections are lost by the hundred here, and the clients' libraries have a traceback for each.
    logging.disable(logging.CRITICAL)
    chosen = _chosen(names, mutant)
    given = {"seed": seed, "messages": messages, "kills": kills, "seconds": seconds, "mutant": mutant, "python": python}
    changes = {name: value for name, value in given.items() if value is not None}
    rows: list[table.Row] = []
    failed = False
    with ExitStack() as stack:
        brokers = Brokers(stack)
        for experiment in chosen:
            drawn = {"seed": random.randrange(1, 10_000)} | changes
            plan = replace(experiment.short if short else experiment.long, **drawn)
            try:
                figures = brokers.run(experiment, plan)
            except Missing as missing:
                typer.echo(f"{experiment.name}: skipped, {missing}", err=True)
                continue
            typer.echo(json.dumps(asdict(figures)) if as_json else figures.summary())
            failed = failed or bool(figures.violations)
            rows.append(table.row(experiment, plan, figures))
            if write and mutant is None:
                table.update(DOCUMENT, rows, list(EXPERIMENTS))
    sys.exit(1 if failed else 0)


def _chosen(names: list[str] | None, mutant: str | None) -> list[Experiment]:
    if mutant is not None and mutant not in MUTANTS:
        raise typer.BadParameter(f"no such mutant; there are: {'; '.join(MUTANTS)}", param_hint="--mutant")
    if not names and mutant is not None:
        names = [MUTANTS[mutant].experiment]
    for name in names or []:
        if name not in EXPERIMENTS:
            raise typer.BadParameter(f"{name!r} is no experiment; there are: {', '.join(EXPERIMENTS)}")
    return [EXPERIMENTS[name] for name in names or EXPERIMENTS]


class Brokers:
    """One for all the experiments that leave it as it was, and a new one for each that does not."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._shared: Broker | None = None

    def run(self, experiment: Experiment, plan: Plan) -> Figures:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memq-chaos-")))
            if experiment.own_broker:
                server, how = stack.enter_context(private())
                return asyncio.run(experiment.run(Ground(_broker(server, how), directory, server), plan))
            if self._shared is None:
                self._shared = _broker(*self._stack.enter_context(private()))
            return asyncio.run(experiment.run(Ground(self._shared, directory), plan))


def _broker(server: Server, how: str) -> Broker:
    return Broker(server.amqp_url, server.management_url, server.prometheus_url, server.version, how)


if __name__ == "__main__":
    app(prog_name="scripts/chaos")
