"""An event loop whose time is virtual and whose choices are drawn from a seed."""

from __future__ import annotations

import asyncio
import heapq
import sys
import time as real_time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from random import Random

EPOCH = 1_700_000_000.0

# Which simulated process a task belongs to: tasks inherit it from the one that made them.
PROCESS: ContextVar[int] = ContextVar("process", default=-1)


class Stuck(AssertionError):
    """The simulation cannot go on: nothing is ready and nothing is scheduled, or it goes on for ever."""


class SimulatedTask(asyncio.Task[Any]):
    """Hashes by its number: sets of tasks are walked in the same order in every run."""

    def __init__(self, coro: Coroutine[Any, Any, Any], number: int, **how: Any) -> None:
        self._number = number
        context = how.get("context")
        self.process = PROCESS.get() if context is None else context[PROCESS]
        super().__init__(coro, **how)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one of the callbacks that are ready, whichever the seed says; time passes only when none is."""

    def __init__(self, random: Random, most_steps: int) -> None:
        super().__init__()
        self.tasks: dict[SimulatedTask, None] = {}
        self.choices: list[int] = []
        self._random = random.random
        self._now = 0.0
        self._made = 0
        self._steps_left = most_steps
        self.set_task_factory(self._make_task)  # pyright: ignore[reportArgumentType]

    def time(self) -> float:
        return self._now

    def _make_task(self, loop: Any, coro: Coroutine[Any, Any, Any], **how: Any) -> SimulatedTask:
        self._made += 1
        task = SimulatedTask(coro, self._made, loop=loop, **how)
        self.tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _run_once(self) -> None:
        ready: Any = self._ready  # pyright: ignore[reportAttributeAccessIssue]
        if not ready:
            self._advance(ready)
        count = len(ready)
        if count > 1:
            chosen = int(self._random() * count)
            self.choices.append(chosen)
            ready.rotate(-chosen)
            handle = ready.popleft()
            ready.rotate(chosen)
        else:
            handle = ready.popleft()
        self._steps_left -= 1
        if self._steps_left < 0:
            raise Stuck(f"still busy at {self._now:.1f} s of virtual time")
        if not handle._cancelled:
            handle._run()

    def _advance(self, ready: Any) -> None:
        timers: Any = self._scheduled  # pyright: ignore[reportAttributeAccessIssue]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not timers:
            raise Stuck(f"everybody waits for ever, at {self._now:.1f} s of virtual time")
        self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def _write_to_self(self) -> None:
        raise Stuck("a simulated process used a thread")

    # Executors, sockets and signals are left out: who asks for one gets NotImplementedError.
    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        raise Stuck("a simulated process used a thread")


class VirtualTime:
    """The module `time`, as far as the worker reads it, by the loop's clock."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.monotonic = self.perf_counter = loop.time
        self._loop = loop

    def time(self) -> float:
        return EPOCH + self._loop.time()


@contextmanager
def virtual_time(loop: SimulatedLoop) -> Iterator[None]:
    """Every module of the worker that reads the clock reads the loop's."""
    clock = VirtualTime(loop)
    names = [name for name in sys.modules if name.startswith("memq_worker.")]
    readers = [sys.modules[name] for name in names if getattr(sys.modules[name], "time", None) is real_time]
    for module in readers:
        module.time = clock  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for module in readers:
            module.time = real_time  # pyright: ignore[reportAttributeAccessIssue]
