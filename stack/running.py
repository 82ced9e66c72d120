"""All of memq on one machine: a broker, a pool of workers and the engine, up together and down in order."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from memq_amqp import Brokers, Lost, NoConnection
from memq_amqp.address import parse

from memq_schemas import topology
from memq_schemas.topology import DEFAULT_PREFIX
from stack.broker import Broker, given, private
from stack.machine import Machine
from stack.workers import Workers, workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from stack.screen import Screen

T = TypeVar("T")

PROCESSES = 2
LOG_LINES = 12
DELETE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Stack:
    broker: Broker
    ours: bool
    """False when the broker is the one of MEMQ_AMQP_URL."""
    prefix: str
    workers: Workers


@asynccontextmanager
async def running(home: Path, screen: Screen, *, throwaway: bool) -> AsyncIterator[Stack]:
    """The stack for as long as the block runs, its files in `home`. Raises NoBroker and WorkersEnded.

    throwaway: nothing of it is needed afterwards. A broker of our own is killed instead of stopped, somebody else's
    gets a prefix that is deleted at the end, and of the MEMQ_* variables only MEMQ_AMQP_URL counts.

    An exception in the block leaves with the last lines of the logs as notes.
    """
    ours = not os.environ.get("MEMQ_AMQP_URL")
    prefix = _prefix(throwaway, ours)
    async with AsyncExitStack() as stack:
        with screen.step("finding or starting RabbitMQ") as step:
            broker = await stack.enter_async_context(_in_thread(_broker(home / "rabbitmq", throwaway)))
            step.done(f"RabbitMQ {broker.version or ''}".strip(), broker.how)
        if throwaway and not ours:
            stack.push_async_callback(_delete, broker.amqp_url, prefix, screen)
        try:
            with screen.step("starting the workers and the engine") as step:
                pool = await stack.enter_async_context(workers(PROCESSES, home, _environ(throwaway, broker, prefix)))
                step.done(f"memq-worker run --processes {PROCESSES}", _declared(prefix))
            yield Stack(broker, ours, prefix, pool)
        except Exception as error:
            for log in (home / "workers.log", home / "rabbitmq" / "log" / "rabbit.log"):
                if lines := _last(log):
                    error.add_note(f"The last lines of {log.name}:\n{lines}")
            raise


def _prefix(throwaway: bool, ours: bool) -> str:
    if not throwaway:
        return os.environ.get("MEMQ_PREFIX") or DEFAULT_PREFIX
    return DEFAULT_PREFIX if ours else f"memq-demo-{secrets.token_hex(4)}"


def _environ(throwaway: bool, broker: Broker, prefix: str) -> dict[str, str]:
    """Settings for the workers, in variables and not in arguments, which other users can read: the URL has a
    password."""
    environ = {name: value for name, value in os.environ.items() if not (throwaway and name.startswith("MEMQ_"))}
    return {**environ, "MEMQ_AMQP_URL": broker.amqp_url, "MEMQ_PREFIX": prefix}


def _declared(prefix: str) -> str:
    layout = topology(prefix)
    return f"{prefix}.*: {len(layout.exchanges)} exchanges and {len(layout.queues)} queues declared"


def _last(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    # A busy worker's last lines are all of answered requests: what went wrong is above them.
    wrong = [line for line in lines if " INFO " not in line and "[info]" not in line]
    return "\n".join((wrong or lines)[-LOG_LINES:])


@contextmanager
def _broker(directory: Path, throwaway: bool) -> Iterator[Broker]:
    machine = Machine()
    if url := machine.environ.get("MEMQ_AMQP_URL"):
        yield given(machine, url)
        return
    with private(machine, directory=directory) as (server, how):
        try:
            yield Broker(
                server.amqp_url, server.management_url, server.prometheus_url, server.version, how, server.tools
            )
        finally:
            if throwaway:
                # An orderly stop takes seconds, for data that are about to be removed.
                server.kill()


@asynccontextmanager
async def _in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    opening = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        yield await asyncio.shield(opening)
    finally:
        # Cancelled half-way through the boot, the thread still has to finish before there is something to close.
        await asyncio.wait([opening])
        if opening.exception() is None:
            await asyncio.to_thread(context.__exit__, None, None, None)


async def _delete(amqp_url: str, prefix: str, screen: Screen) -> None:
    """Never raises: what has gone wrong before is what its user has to see."""
    layout = topology(prefix)
    try:
        async with asyncio.timeout(DELETE_SECONDS):
            connection = await Brokers(parse(amqp_url), name="memq demo", timeout=DELETE_SECONDS).connect()
            try:
                channel = await connection.channel()
                for queue in layout.queues:
                    await channel.delete_queue(queue.name)
                for exchange in layout.exchanges:
                    await channel.delete_exchange(exchange.name)
            finally:
                await connection.close(DELETE_SECONDS)
    except (TimeoutError, NoConnection, Lost) as error:
        screen.warn(f"the exchanges and queues {prefix}.* are still on the broker: {error or 'no answer'}")
