"""A lost connection, and how it differs from a cancelled task."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


class Lost(Exception):
    """The channel or connection went away; whether the broker has the message is unknown."""


@contextmanager
def cancellable() -> Generator[None]:
    """Enclose calls of aio_pika and aiormq, so that no cancel of this task is lost and no loss looks like a cancel.

    Raise CancelledError if the task was cancelled inside the block, whatever the outcome of the block: aiormq waits
    with `asyncio.wait_for`, which on Python 3.11 drops a cancel that arrives together with the broker's answer.

    Raise Lost for a CancelledError that nobody asked for: aiormq cancels whatever waits on a connection that died.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling() > before:
            raise
        raise Lost("the connection was lost") from error
    except Exception as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
