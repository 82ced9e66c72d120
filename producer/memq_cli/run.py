from __future__ import annotations

import asyncio
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer

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
    """The action with an open producer; errors become a line on stderr and the exit code.

    after_failure: what the user has to know besides, such as how much had been delivered.
    """
    with reported(after_failure):
        asyncio.run(_with_producer(target, action, batch_size, compression))


@contextmanager
def reported(after_failure: Callable[[], str | None] = lambda: None) -> Generator[None]:
    """Errors of the block become a line on stderr and the exit code."""
    # What the libraries log about a lost connection is said by `_tell` in one line.
    logging.disable(logging.CRITICAL)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:  # the one place where a defect becomes a line too
        if isinstance(error, (typer.Exit, typer.BadParameter)) or os.environ.get("MEMQ_DEBUG"):
            raise
        notice(f"memq: {failures.line(error)}")
        if told := after_failure():
            notice(f"memq: {told}")
        raise typer.Exit(failures.exit_code(error)) from None


async def _with_producer(
    target: Target, action: Callable[[Producer], Awaitable[None]], batch_size: int, compression: Literal["zstd"] | None
) -> None:
    async with Producer(
        target.url,
        prefix=target.prefix,
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
