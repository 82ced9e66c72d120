from __future__ import annotations

import asyncio
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer
from memq_process.signals import Terminated, until_terminated
from memq_process.streams import OutputError

from memq.producer import Producer
from memq_cli import failures
from memq_cli.output import notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from memq.connection.link import ConnectionChange
    from memq_cli.options import Target


def run(
    target: Target,
    action: Callable[[Producer], Awaitable[None]],
    *,
    batch_size: int = 100,
    compression: Literal["zstd"] | None = None,
    after_failure: Callable[[], str | None] = lambda: None,
) -> None:
    """Run the action with an open producer; report errors as a line on stderr and by the exit code.

    after_failure: returns a second line for the user, such as the number of points delivered.
    """
    with reported(after_failure):
        asyncio.run(until_terminated(_with_producer(target, action, batch_size, compression)))


@contextmanager
def reported(after_failure: Callable[[], str | None] = lambda: None) -> Generator[None]:
    """Report errors of the block as a line on stderr and by the exit code."""
    # `_tell` reports a lost connection; the libraries would log it too.
    logging.disable(logging.CRITICAL)
    try:
        yield
    except (typer.Exit, typer.BadParameter, OutputError):
        raise
    except (Exception, KeyboardInterrupt, Terminated) as error:  # also reports defects in one line
        if os.environ.get("MEMQ_DEBUG"):
            raise
        notice(f"memq: {failures.line(error)}")
        if text := after_failure():
            notice(f"memq: {text}")
        raise typer.Exit(failures.exit_code(error)) from None


async def _with_producer(
    target: Target, action: Callable[[Producer], Awaitable[None]], batch_size: int, compression: Literal["zstd"] | None
) -> None:
    async with Producer(
        target.url,
        prefix=target.prefix,
        tenant=target.tenant,
        timeout=target.timeout,
        confirm_timeout=target.timeout,
        max_points_per_message=batch_size,
        compression=compression,
        name="memq command",
        on_connection=_tell,
    ) as producer:
        await action(producer)


def _tell(change: ConnectionChange) -> None:
    if change.connected:
        notice("memq: reconnected to RabbitMQ")
    else:
        notice(f"memq: no connection to RabbitMQ ({change.reason}), connecting again")
