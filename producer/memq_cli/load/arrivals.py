"""The open loop: requests are due by the clock, whether or not the ones before them have been answered."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOOK_SECONDS = 0.05


class Arrivals:
    """request: called with the moment, of the loop's clock, at which it was due. Latency counted from there has in it
    the time a request waited because the system was slow, which a client that waits for answers never sees.

    seconds: for how long; None until stopped.   most: requests on their way at once; more wait, and are late.
    """

    def __init__(
        self, rate: float, seconds: float | None, request: Callable[[float], Awaitable[None]], most: int
    ) -> None:
        self._rate = rate
        self._due = math.inf if seconds is None else round(rate * seconds)
        self._seconds = math.inf if seconds is None else seconds
        self._request = request
        self._slots = asyncio.Semaphore(most)
        self.late = 0.0
        """How many seconds after its time the latest request went out."""

    async def run(self, stop: asyncio.Event) -> int:
        """Return the number of requests that were due and not sent, after the rest were answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        sent = 0
        async with asyncio.TaskGroup() as requests:
            while sent < self._due and not stop.is_set():
                due = began + sent / self._rate
                if not await self._slot(due, began + self._seconds, stop):
                    break
                requests.create_task(self._one(due))
                sent += 1
            elapsed = min(loop.time() - began, self._seconds)
        # Up to this moment: what a stop has cut off was not due yet.
        return max(0, math.floor(min(self._due, elapsed * self._rate)) - sent)

    async def _slot(self, due: float, end: float, stop: asyncio.Event) -> bool:
        """Waits for the time and for room. False when the end or a stop comes first."""
        loop = asyncio.get_running_loop()
        if (left := due - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await stop.wait()
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._slots.acquire()
            except TimeoutError:
                if loop.time() > end:
                    return False
            else:
                self.late = max(0.0, loop.time() - due)
                return True
        return False

    async def _one(self, due: float) -> None:
        try:
            await self._request(due)
        finally:
            self._slots.release()
