import asyncio
from contextlib import suppress
from weakref import WeakSet

from memq_amqp import Connection, Lost, stop

_LOOK_SECONDS = 1.0


class ConfirmTimeout:
    """Timeout of a publish for its confirm, extended while the broker reports that it is blocked.

    A broker short of memory or disk reads nothing from those who publish and confirms nothing, and says so. To connect
    anew and publish again would leave as many copies in its buffers.
    """

    def __init__(self, seconds: float, connection: Connection) -> None:
        self._seconds = seconds
        self._connection = connection
        self._limits: WeakSet[asyncio.Timeout] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._ended = False

    def limit(self) -> asyncio.Timeout:
        limit = asyncio.timeout(self._seconds)
        self._limits.add(limit)
        if self._timer is None and not self._ended:
            self._timer = asyncio.get_running_loop().call_later(min(_LOOK_SECONDS, self._seconds / 4), self._look)
        return limit

    def end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            stop(self._looking)

    def _look(self) -> None:
        self._looking = asyncio.create_task(self._prolong())

    async def _prolong(self) -> None:
        with suppress(Lost):
            while self._limits and await self._connection.blocked():
                until = asyncio.get_running_loop().time() + self._seconds
                for limit in self._limits:
                    with suppress(RuntimeError):  # over, or not begun
                        limit.reschedule(until)
                await asyncio.sleep(min(_LOOK_SECONDS, self._seconds / 4))
        self._timer = None
        if self._limits:
            self._timer = asyncio.get_running_loop().call_later(min(_LOOK_SECONDS, self._seconds / 4), self._look)
