"""`scripts/serve`: RabbitMQ, workers and the engine in the foreground, with a directory that outlives them."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from typing import TYPE_CHECKING

from memq_amqp import stopped

from stack import directions, usage
from stack.broker import NoBroker
from stack.interrupt import run
from stack.memories import memories
from stack.running import Stack, running
from stack.screen import Screen
from stack.watched import watched
from stack.workers import WorkersEnded, installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from stack.interrupt import Interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    options = usage.serve().parse_args(arguments)
    screen = Screen("serve")
    home = options.data_dir.absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        return run(lambda interrupt: _serve(home, screen, interrupt), screen.warn)
    except (NoBroker, WorkersEnded, OSError) as error:
        screen.failed(error)
        return 1


async def _serve(home: Path, screen: Screen, interrupt: Interrupt) -> int:
    screen.title(f"memq: RabbitMQ, workers and Qdrant's engine, kept in {directions.shown(home)}")
    async with running(home, screen, throwaway=False) as stack:
        _write_environment(stack, home / "env")
        async with watched(stack, home, screen) as prometheus:
            commands = directions.without_data(stack, memories().ids[0])
            await run_until_interrupt(
                stack, screen, interrupt, commands, await prometheus.addresses() if prometheus else ()
            )
    return 0


async def run_until_interrupt(
    stack: Stack, screen: Screen, interrupt: Interrupt, commands: Sequence[str], beside: Iterable[tuple[str, str]] = ()
) -> None:
    """Shows where everything is, then waits for a signal, which is the regular end. Raises WorkersEnded."""
    screen.heading("Running")
    screen.rows(directions.addresses(stack, beside))
    screen.heading("Try")
    for line in (directions.setting(stack), *commands):
        if line:
            screen.verbatim(line)
    screen.heading("Look")
    for line in directions.looking(stack):
        screen.verbatim(line)
    screen.say("\nCtrl-C stops everything.")
    signal, death = asyncio.create_task(interrupt.expected()), asyncio.create_task(stack.workers.ended())
    try:
        await asyncio.wait({signal, death}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await stopped(signal, death)
    if death.done() and not death.cancelled():
        death.result()


def _write_environment(stack: Stack, path: Path) -> None:
    """Write the variables with which a shell runs every command of README and of the runbooks."""
    tools = dict(stack.broker.tools)
    places = ":".join(filter(None, (str(installed("memq").parent), tools.pop("PATH", ""))))
    lines = [
        directions.setting(stack),
        f"export MEMQ_METRICS_URLS={stack.workers.metrics_url}",
        f"export MEMQ_MANAGEMENT_URL={stack.broker.management_url}" if stack.broker.management_url else "",
        f"export PATH={shlex.quote(places)}:$PATH",
        *(f"export {name}={shlex.quote(value)}" for name, value in tools.items()),
    ]
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.writelines(f"{line}\n" for line in lines if line)


if __name__ == "__main__":
    sys.exit(main())
