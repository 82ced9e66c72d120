"""Cancelling: background tasks that end for good, and whether it was this task that was cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

_REPEAT_SECONDS = 5.0


def cancels() -> int:
    """Return how often the running task has been cancelled: more often than before a call if it was during it.

    Libraries raise CancelledError too, for what waits on a connection that they close.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def stop(task: asyncio.Task[Any]) -> None:
    """Cancel a background task, and repeat it every 5 seconds until the task has ended.

    Libraries may drop a cancel: `asyncio.wait_for` of Python 3.11 does when its result arrives at the same time. The
    cleanup of the task must be shorter than the interval.
    """
    if not task.done():
        task.cancel()
        again = task.get_loop().call_later(_REPEAT_SECONDS, stop, task)
        task.add_done_callback(lambda _: again.cancel())


async def stopped(*tasks: asyncio.Task[Any] | None) -> None:
    """Stop these tasks and wait until all have ended. Their results and errors stay in them."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        stop(task)
    if running:
        await asyncio.wait(running)
