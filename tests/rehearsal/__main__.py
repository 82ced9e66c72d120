"""Rehearse the runbooks: break the real thing, await the alert, run its section's commands, repair, await the end."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Annotated

import typer

from stack.broker import private
from stack.prometheus import found
from tests.rehearsal.incidents import INCIDENTS, SERVER_INCIDENTS, broken, shown
from tests.rehearsal.scaled import alerts
from tests.rehearsal.sections import run, sections
from tests.rehearsal.stage import quiet, stage
from tests.support.until import until

if TYPE_CHECKING:
    from tests.rehearsal.incidents import Incident
    from tests.rehearsal.sections import Answer
    from tests.rehearsal.stage import Stage

FACTOR = 20.0
SLACK_SECONDS = 150.0
BY_DESIGN = {"Watchdog": "it fires all the time, and every other section waits for it"}

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class NotRehearsed(AssertionError):
    """The section did not do its work; the message says where."""


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[ALERT]...", help="Which; all unless given.")] = None,
    factor: Annotated[float, typer.Option(min=1, max=60, help="Divides every `for` and every range.")] = FACTOR,
    qdrant: Annotated[
        bool, typer.Option("--qdrant", help="Use the Qdrant server on PATH, and rehearse the sections about it.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the commands' output too.")] = False,
) -> None:
    """Break a real broker, pool and store once for each alert, and check that its runbook section helps.

    Prometheus loads the shipped rules with every `for` and range divided by the factor. A section counts as rehearsed
    if the alert fires, the commands of the section run as written and show the cause, and the alert resolves.

    Exit codes: 0 every section that was asked for was rehearsed, 1 one was not, 2 wrong use.
    """
    incidents = SERVER_INCIDENTS if qdrant else INCIDENTS
    chosen = names or [name for name in sections() if not qdrant or name in incidents]
    for name in chosen:
        if name not in sections():
            raise typer.BadParameter(f"{name}: no such alert; there are {', '.join(sections())}", param_hint="ALERT")
    logging.disable(logging.CRITICAL)
    # What was started is stopped on both signals.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    typer.echo(f"Every `for` and range is divided by {factor:g}.")
    with tempfile.TemporaryDirectory(prefix="memq-rehearsal-") as home, private() as (server, how):
        typer.echo(f"RabbitMQ {server.version}, {how}")

        async def all_of_them() -> bool:
            async with stage(server, found(), Path(home), factor, qdrant=qdrant) as playing:
                return all([await report(playing, name, incidents.get(name), verbose) for name in chosen])

        sys.exit(0 if asyncio.run(all_of_them()) else 1)


async def report(playing: Stage, name: str, incident: Incident | None, verbose: bool) -> bool:
    """Rehearse one section and print its line. Returns False if it was not rehearsed."""
    if name in BY_DESIGN:
        typer.echo(f"{name:26} not broken: {BY_DESIGN[name]}")
        return True
    if incident is None:
        typer.echo(f"{name:26} NOT REHEARSED: it has no incident")
        return False
    began = time.monotonic()
    answers: list[Answer] = []
    try:
        fired, resolved = await rehearse(playing, name, incident, answers)
        line = (
            f"rehearsed: fired after {fired:.0f} s, {len(answers)} commands, resolved {resolved:.0f} s after the repair"
        )
    # Whatever a section fails of, the others are still rehearsed.
    except (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError, SubprocessError) as error:
        line = f"NOT REHEARSED after {time.monotonic() - began:.0f} s: {type(error).__name__}: {error}"
    typer.echo(f"{name:26} {line}")
    if verbose or "NOT" in line:
        for answer in answers:
            typer.echo(f"    $ {answer.command}   [{answer.code}]\n" + answer.text[:2000])
    return "NOT" not in line


async def rehearse(playing: Stage, name: str, incident: Incident, answers: list[Answer]) -> tuple[float, float]:
    """Return the seconds until the alert fired, and from the repair until it resolved. Raises AssertionError."""
    await quiet(playing, within=alerts()[name] / playing.factor + SLACK_SECONDS)
    began = time.monotonic()

    async def fires() -> bool:
        return name in await playing.firing(incident.labels)

    async def resolved() -> bool:
        return playing.prometheus is not None and name not in await playing.firing()

    async with broken(playing, incident):
        await until(fires, within=alerts()[name] / playing.factor + SLACK_SECONDS, every=0.5)
        fired = time.monotonic() - began
        answers += [await asyncio.to_thread(run, command, playing.environ) for command in sections()[name]]
    repaired = time.monotonic()
    text = "\n".join(answer.text for answer in answers)
    if unknown := [answer.command for answer in answers if answer.code == 127]:
        raise NotRehearsed(f"no such command: {'; '.join(unknown)}")
    if not shown(incident, text):
        raise NotRehearsed(f"the commands do not show {incident.shows!r}")
    for command in incident.after:
        after = await asyncio.to_thread(run, command, playing.environ)
        answers.append(after)
        if after.code:
            raise NotRehearsed(f"{command} ended with {after.code}: {after.text[-200:]}")
    await until(resolved, within=alerts()[name] / playing.factor + SLACK_SECONDS, every=0.5)
    return fired, time.monotonic() - repaired


if __name__ == "__main__":
    app()
