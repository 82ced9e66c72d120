"""Coroutines that are cancelled at a chosen await point: one driver around each task of a running program."""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import memq_amqp
from memq_amqp import stop

import memq
import memq_cli
import memq_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

OURS = tuple(str(Path(str(package.__file__)).parent) for package in (memq, memq_amqp, memq_cli, memq_worker))

# Cancelled while it waits, or in the turn of the event loop in which the awaited answer has arrived.
Moment = Literal["waiting", "answered"]
Point = tuple[str, str, Moment]  # coroutine, place of the await in our code, moment


class Cancels:
    """A task factory that cancels one task of our packages in each round, at an await point not tried before."""

    def __init__(self, end: Callable[[asyncio.Task[Any]], None] = stop) -> None:
        self.tried: set[Point] = set()
        self.point: Point | None = None  # of this round
        self.task: asyncio.Task[Any] | None = None
        self.chosen = asyncio.Event()
        self.open = False
        self._end = end
        self._moments: tuple[Moment, ...] = ("answered", "waiting")

    def begin(self) -> None:
        self.point = self.task = None
        self.chosen = asyncio.Event()
        self.open = True

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        code = getattr(coro, "cr_code", None)
        if code is None or not code.co_filename.startswith(OURS):
            return asyncio.Task(coro, loop=loop, **options)
        driver = _Driver(coro, self)
        task = driver.task = asyncio.Task(driver, loop=loop, **options)
        return task

    def suspended(self, driver: _Driver, awaited: asyncio.Future[Any] | None) -> None:
        if not self.open or self.point is not None or driver.task is None:
            return
        place = _place(driver.coro)
        for moment in self._moments:
            point = (driver.name, place, moment)
            if point in self.tried or (moment == "answered" and awaited is None):
                continue
            self.point, self.task = point, driver.task
            self.tried.add(point)
            if moment == "waiting" or awaited is None:
                driver.task.get_loop().call_soon(self._cancel)
            else:
                # Before the task's own callback, which is added after this returns.
                awaited.add_done_callback(lambda _: self._cancel())
            return

    def _cancel(self) -> None:
        if self.task is not None and not self.task.done():
            self._end(self.task)
        self.chosen.set()


class _Driver(Coroutine[Any, Any, Any]):
    def __init__(self, coro: Coroutine[Any, Any, Any], cancels: Cancels) -> None:
        self.coro = coro
        self.name = coro.__qualname__
        self.task: asyncio.Task[Any] | None = None
        self._cancels = cancels
        self.__name__, self.__qualname__ = coro.__name__, coro.__qualname__

    def send(self, value: Any) -> Any:
        return self._yielded(self.coro.send(value))

    def throw(self, *error: Any) -> Any:
        return self._yielded(self.coro.throw(*error))

    def close(self) -> None:
        self.coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("driven by a task")

    def _yielded(self, awaited: Any) -> Any:
        self._cancels.suspended(self, awaited if asyncio.isfuture(awaited) else None)
        return awaited


def _place(awaiting: Any) -> str:
    """The innermost await of our own code, and the function of a library that is awaited there."""
    place = below = ""
    while awaiting is not None:
        frame, awaited = _inside(awaiting)
        if frame is not None and frame.f_code.co_filename.startswith(OURS):
            place, below = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}", ""
        elif frame is not None and not below:
            below = frame.f_code.co_qualname
        awaiting = awaited
    return f"{place} {below}".rstrip()


def _inside(awaiting: Any) -> tuple[types.FrameType | None, Any]:
    """Where a coroutine or asynchronous generator waits, and for what."""
    if isinstance(awaiting, types.CoroutineType):
        return awaiting.cr_frame, awaiting.cr_await
    if isinstance(awaiting, types.AsyncGeneratorType):
        return awaiting.ag_frame, awaiting.ag_await
    # A step of an asynchronous generator shows its generator to the garbage collector alone.
    steps = (each for each in gc.get_referents(awaiting) if isinstance(each, types.AsyncGeneratorType))
    return None, next(steps, None)
