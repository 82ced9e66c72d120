"""Writes of one call: many messages on their way together, what became of them counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from memq_amqp import stop

from memq.errors import MemqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memq.answers import Receipt
    from memq.deliver.sender import Outgoing
    from memq.deliver.write_path import WritePath


class Part(NamedTuple):
    """One message of a call.   positions: of its points in the call.   last: whether it is known to be the last."""

    positions: range
    outgoing: Outgoing
    last: bool


class Writes:
    _defect: BaseException | None = None
    _points = 0
    _messages = 0
    _slowest: float | None = None

    def __init__(self, path: WritePath, progress: Callable[[Receipt], None] | None = None) -> None:
        self._path = path
        self._progress = progress
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[MemqError] = []
        self._complete = Contiguous()

    @property
    def receipt(self) -> Receipt:
        return self._path.receipt(self._points, self._messages, self._complete.end, self._slowest)

    async def run(self, parts: Iterator[Part] | AsyncIterator[Part]) -> Receipt:
        """Sends until they end or one fails; then lets those on their way arrive before it raises."""
        try:
            await self._path.prepare()
            await self._feed(parts)
        except MemqError as error:
            error.confirmed = self.receipt
            raise
        if self._defect is not None:
            raise self._defect
        if self._failures:
            first = min(self._failures, key=lambda error: error.points.start if error.points else 0)
            first.confirmed = self.receipt
            raise first
        return self.receipt

    async def _feed(self, parts: Iterator[Part] | AsyncIterator[Part]) -> None:
        try:
            if isinstance(parts, AsyncIterator):
                async for part in parts:
                    if not await self._begin(part):
                        break
            else:
                for part in parts:
                    if not await self._begin(part):
                        break
        except asyncio.CancelledError:
            for task in self._tasks:
                stop(task)
            raise
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _begin(self, part: Part) -> bool:
        """Return True to continue with the next message."""
        positions, outgoing, last = part
        window = self._path.window
        if not window.take(len(outgoing.body)):
            try:
                await self._path.room(outgoing)
            except MemqError as error:
                self._failed(positions, error)
                return False
        if self._failures or self._defect:
            window.release(len(outgoing.body))
            return False
        if last:
            # With nothing behind it to be held up, it needs no task.
            await self._one(positions, outgoing)
            return False
        task = asyncio.create_task(self._one(positions, outgoing))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        # A source that never waits would keep everybody else from running until the window is full.
        await asyncio.sleep(0)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self._defect = task.exception()

    async def _one(self, positions: range, outgoing: Outgoing) -> None:
        try:
            elapsed = await self._path.deliver(outgoing)
        except MemqError as error:
            self._failed(positions, error)
            return
        finally:
            self._path.window.release(len(outgoing.body))
        self._points += len(positions)
        self._complete.add(positions)
        self._messages += 1
        if elapsed is not None:
            self._slowest = max(self._slowest or 0.0, elapsed)
        if self._progress is not None:
            self._progress(self.receipt)

    def _failed(self, positions: range, error: MemqError) -> None:
        error.points = positions
        self._failures.append(error)


class Contiguous:
    """Ranges that are done in any order: `end` is how far they are without a gap, from 0."""

    def __init__(self) -> None:
        self.end = 0
        self._later: dict[int, int] = {}

    def add(self, done: range) -> None:
        if not done:
            return
        self._later[done.start] = done.stop
        while (stop := self._later.pop(self.end, None)) is not None:
            self.end = stop
