from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Protocol

from memq.answers import Receipt
from memq.errors import BufferFull

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from memq.deliver.sender import Outgoing, Sender
    from memq.options import Options


class Keeps(Protocol):
    """An outbox, as deliveries see it."""

    def put(self, outgoing: Outgoing) -> Awaitable[None]:
        """Return once the message is on this machine's disk."""
        ...

    async def sent(self, timeout: float) -> None:
        """Return when the broker has confirmed all that is kept now. Raises Unconfirmed."""
        ...


class WritePath:
    """Delivery of writes, and the limit on concurrent ones.

    asks: every message asks for an answer; otherwise a confirm is enough, or a place in the outbox where there is one.
    """

    def __init__(self, sender: Sender, window: Window, options: Options, outbox: Keeps | None, *, asks: bool) -> None:
        self.window = window
        self.asks = asks
        self._sender = sender
        self._options = options
        self._outbox = outbox
        self.stores = outbox is not None and not asks

    def receipt(self, points: int, messages: int, complete: int, slowest: float | None) -> Receipt:
        return Receipt(points, messages, self.asks, slowest, self.stores, complete)

    async def prepare(self) -> None:
        """Before the first message of a call."""
        if self.asks and self._outbox is not None:
            # Questions do not go through the file, but must not overtake what is in it.
            await self._outbox.sent(self._options.timeout)

    async def room(self, outgoing: Outgoing) -> None:
        """Returns when there is room for it, which is taken. Raises BufferFull."""
        seconds = None if self.asks else self._options.buffer_timeout
        try:
            async with asyncio.timeout(seconds):
                await self.window.acquire(len(outgoing.body))
        except TimeoutError:
            raise BufferFull(
                f"{outgoing.routing_key}: no room within {seconds:g} s: the broker confirms more slowly than the "
                "producer publishes, or is unavailable; retry later, or raise max_in_flight or buffer_timeout"
            ) from None

    def deliver(self, outgoing: Outgoing) -> Awaitable[float | None]:
        """Milliseconds that the worker took; None where nobody waits for it. Raises MemqError."""
        if self.asks:
            return self._asked(outgoing)
        if self._outbox is not None:
            return self._outbox.put(self._sender.with_trace(outgoing))
        return self._sender.send(outgoing, self._options.confirm_timeout)

    async def _asked(self, outgoing: Outgoing) -> float:
        return (await self._sender.ask(outgoing, self._options.timeout)).elapsed_ms


class Window:
    """Limit on unconfirmed messages and bytes; later publishes wait in line.

    A message larger than the whole byte limit passes when nothing else is on its way.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._free_messages = self._messages = messages
        self._free_bytes = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> bool:
        """Return True if there was room at once."""
        if self._waiting or not self._fits(size):
            return False
        self._take(size)
        return True

    async def acquire(self, size: int) -> None:
        if self.take(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(entry)
                self._admit()
            raise

    def release(self, size: int) -> None:
        self._free_messages += 1
        self._free_bytes += size
        self._admit()

    def _fits(self, size: int) -> bool:
        if self._free_messages == self._messages:
            return True
        return self._free_messages > 0 and self._free_bytes >= size

    def _take(self, size: int) -> None:
        self._free_messages -= 1
        self._free_bytes -= size

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if turn.cancelled():
                continue
            self._take(size)
            turn.set_result(None)
