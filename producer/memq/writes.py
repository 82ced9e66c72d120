"""Writes of one call: many messages on their way together, what became of them counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from memq.answers import Receipt
from memq.contiguous import Contiguous
from memq.errors import BufferFull, MemqError
from memq.window import Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from memq.outbox import Outbox
    from memq.sender import Outgoing, Sender

# Messages of one call that may wait for the worker's answer at once: enough to keep it busy, few enough that the last
# one's answer does not come late only because of those before it.
WAITING_MESSAGES = 32


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

    def __init__(
        self,
        sender: Sender,
        window: Window,
        *,
        confirm_timeout: float,
        answer_timeout: float | None,
        window_bytes: int,
        buffer_timeout: float | None = None,
        outbox: Outbox | None = None,
        progress: Callable[[Receipt], None] | None = None,
    ) -> None:
        """With `answer_timeout` every message asks for an answer, otherwise a confirm is enough, or a place in the
        outbox where there is one."""
        self._sender = sender
        self._confirm_timeout = confirm_timeout
        self._buffer_timeout = buffer_timeout
        self._outbox = outbox
        self._answer_timeout = answer_timeout
        # Waiting for slow answers must not take the room of other calls' publishes.
        self._window = window if answer_timeout is None else Window(WAITING_MESSAGES, window_bytes)
        self._progress = progress
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[MemqError] = []
        self._complete = Contiguous()

    @property
    def receipt(self) -> Receipt:
        asked = self._answer_timeout is not None
        return Receipt(
            self._points,
            self._messages,
            asked,
            self._slowest,
            stored=self._outbox is not None and not asked,
            complete=self._complete.end,
        )

    async def run(self, parts: Iterator[Part] | AsyncIterator[Part]) -> Receipt:
        """Sends until they end or one fails; then lets those on their way arrive before it raises."""
        try:
            if self._outbox is not None and self._answer_timeout is not None:
                # Questions do not go through the file, but must not overtake what is in it.
                await self._outbox.sent(self._answer_timeout)
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
                task.cancel()
            raise
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _begin(self, part: Part) -> bool:
        """Whether to go on with the next one."""
        positions, outgoing, last = part
        if not self._window.take(len(outgoing.body)) and not await self._room(positions, outgoing):
            return False
        if self._failures or self._defect:
            self._window.release(len(outgoing.body))
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

    async def _room(self, positions: range, outgoing: Outgoing) -> bool:
        try:
            async with asyncio.timeout(self._buffer_timeout):
                await self._window.acquire(len(outgoing.body))
        except TimeoutError:
            error = BufferFull(
                f"{outgoing.routing_key}: no room for it within {self._buffer_timeout:g} s: the broker confirms slower "
                "than this producer is given work, or is away; try later, or raise max_in_flight or buffer_timeout"
            )
            error.points = positions
            self._failures.append(error)
            return False
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self._defect = task.exception()

    async def _one(self, positions: range, outgoing: Outgoing) -> None:
        try:
            await self._deliver(outgoing)
        except MemqError as error:
            error.points = positions
            self._failures.append(error)
            return
        finally:
            self._window.release(len(outgoing.body))
        self._points += len(positions)
        self._complete.add(positions)
        self._messages += 1
        if self._progress is not None:
            self._progress(self.receipt)

    def _deliver(self, outgoing: Outgoing) -> Awaitable[None]:
        if self._answer_timeout is not None:
            return self._asked(outgoing, self._answer_timeout)
        if self._outbox is not None:
            return self._outbox.put(self._sender.kept(outgoing))
        return self._sender.send(outgoing, self._confirm_timeout)

    async def _asked(self, outgoing: Outgoing, timeout: float) -> None:
        reply = await self._sender.ask(outgoing, timeout)
        self._slowest = max(self._slowest or 0.0, reply.elapsed_ms)
