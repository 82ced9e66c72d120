"""The closed loop: users, each of whom sends the next request when the last one has been answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from memq_cli.load.stages import total_seconds, users_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memq_cli.load.stages import Stage

TICK_SECONDS = 0.05


class Users:
    """turn: what one user does, again and again, `pause` seconds apart."""

    def __init__(self, stages: tuple[Stage, ...], turn: Callable[[], Awaitable[None]], pause: float) -> None:
        self._stages = stages
        self._turn = turn
        self._pause = pause
        self._present = 0

    @property
    def present(self) -> int:
        """Number of users due at this moment."""
        return self._present

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when the stages or `stop` have ended it and everybody's last request is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as users:
            working: dict[int, asyncio.Task[None]] = {}
            while (elapsed := loop.time() - began) < total_seconds(self._stages) and not stop.is_set():
                wanted = users_at(self._stages, elapsed)
                self._present = wanted
                for number in range(wanted):
                    if number not in working or working[number].done():
                        working[number] = users.create_task(self._user(number))
                await asyncio.sleep(TICK_SECONDS)
            self._present = 0

    async def _user(self, number: int) -> None:
        while number < self._present:
            await self._turn()
            # Also without a pause everybody else gets a turn: a request can fail without ever waiting.
            await asyncio.sleep(self._pause)
