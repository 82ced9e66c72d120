"""Ending background tasks for good."""

from __future__ import annotations

import asyncio
from typing import Any

_REPEAT_SECONDS = 5.0


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
