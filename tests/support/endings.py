"""The end of tasks that a library started and awaits nowhere: a loop that ends before them destroys them, loudly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection


async def all_ended(*, since: Collection[asyncio.Task[Any]] = (), cancel: bool = False, within: float = 20.0) -> None:
    """Wait until no task of this loop runs but the caller and those of `since`. cancel: cancel each first.

    Raises TimeoutError.
    """
    own = asyncio.current_task()
    async with asyncio.timeout(within):
        while left := [task for task in asyncio.all_tasks() if task is not own and task not in since]:
            for task in left:
                if cancel:
                    task.cancel()
            # What ends may begin another task by a callback, and one that is cancelled once may have dropped that.
            await asyncio.wait(left, timeout=1.0)
