from __future__ import annotations

import asyncio
import contextlib
from collections import deque


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
