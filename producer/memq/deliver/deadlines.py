"""Timeouts of equal length with one timer for all of them, unlike asyncio.timeout."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Deadlines:
    """`with deadlines.one():` raises TimeoutError when its block takes longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        # Equally long, so the first one to begin is the first one due.
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> Deadline:
        return Deadline(self)

    def begin(self, deadline: Deadline) -> float:
        """When it is due, in the event loop's time."""
        self._running[deadline] = None
        due = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._passed)
        return due

    def end(self, deadline: Deadline) -> None:
        self._running.pop(deadline, None)

    def _passed(self) -> None:
        self._timer = None
        now = self._loop.time()
        for deadline in list(self._running):
            if deadline.due > now:
                self._timer = self._loop.call_at(deadline.due, self._passed)
                break
            del self._running[deadline]
            deadline.pass_()


class Deadline:
    __slots__ = ("_cancels", "_of", "_passed", "_task", "due")

    def __init__(self, of: Deadlines) -> None:
        self._of = of
        self._passed = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._task = task
        self._cancels = task.cancelling()
        self.due = self._of.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._of.end(self)
        # If somebody else has cancelled the task as well, that is for him to hear of.
        if self._passed and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pass_(self) -> None:
        self._passed = True
        self._task.cancel()
