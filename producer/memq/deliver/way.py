from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from memq.answers import Receipt
from memq.errors import BufferFull

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from memq.deliver.sender import Outgoing, Sender
    from memq.deliver.window import Window
    from memq.options import Options
    from memq.outbox import Outbox


class Way:
    """Delivery of writes, and the limit on concurrent ones.

    asks: every message asks for an answer; otherwise a confirm is enough, or a place in the outbox where there is one.
    """

    def __init__(self, sender: Sender, window: Window, options: Options, outbox: Outbox | None, *, asks: bool) -> None:
        self.window = window
        self.asks = asks
        self._sender = sender
        self._options = options
        self._outbox = outbox
        self.stores = outbox is not None and not asks

    def receipt(self, points: int, messages: int, complete: int, slowest: float | None) -> Receipt:
        return Receipt(points, messages, self.asks, slowest, self.stores, complete)

    async def begun(self) -> None:
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
                f"{outgoing.routing_key}: no room within {seconds:g} s: the broker confirms slower "
                "than this producer is given work, or is away; try later, or raise max_in_flight or buffer_timeout"
            ) from None

    def deliver(self, outgoing: Outgoing) -> Awaitable[float | None]:
        """Milliseconds that the worker took; None where nobody waits for it. Raises MemqError."""
        if self.asks:
            return self._asked(outgoing)
        if self._outbox is not None:
            return self._outbox.put(self._sender.kept(outgoing))
        return self._sender.send(outgoing, self._options.confirm_timeout)

    async def _asked(self, outgoing: Outgoing) -> float:
        return (await self._sender.ask(outgoing, self._options.timeout)).elapsed_ms
