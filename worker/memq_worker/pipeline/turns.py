"""Turns of the tenants' requests at the store."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_RECENT_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class _Line:
    """Unanswered requests of one tenant, and the bytes of their bodies.

    begun: requests at the store.   waiting: turns of the others, oldest first.   seen: time of the latest request.
    """

    messages: int = 0
    size: int = 0
    begun: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])
    seen: float = 0.0


class Turns:
    """Shares the store and the worker's memory equally among the tenants that send requests.

    A tenant alone may have `most` requests at the store. While another has sent one within a minute each may have
    `shared` divided by their number, and at least one: a request then waits for few others, whoever sends how many.
    Further requests of a tenant wait in the worker while they are fewer than the worker could still take. So no tenant
    can fill the worker: there is room left for the first request of another.
    """

    def __init__(self, most: int = 32, messages: int = 512, size: int = 32 * 2**20, *, shared: int = 4) -> None:
        """most: requests at the store.   messages, size: unanswered requests, and the bytes of their bodies."""
        self._idle = most
        self._most = most
        self._free = messages
        self._free_size = size
        self._shared = shared
        self._lines: OrderedDict[str, _Line] = OrderedDict()  # the one that was seen last at the end
        self._order: deque[_Line] = deque()  # lines with requests that wait

    def room(self, tenant: str, size: int) -> bool:
        """Return True if the worker can take another request of the tenant, with a body of `size` bytes."""
        line = self._lines.get(tenant)
        messages, taken = (0, 0) if line is None else (line.messages, line.size)
        return messages < self._free and taken + size <= self._free_size

    def add(self, tenant: str, size: int) -> None:
        """Count an unanswered request."""
        line = self._lines.setdefault(tenant, _Line())
        line.seen = time.monotonic()
        self._lines.move_to_end(tenant)
        line.messages += 1
        line.size += size
        self._free -= 1
        self._free_size -= size

    def remove(self, tenant: str, size: int) -> None:
        """Count a request as answered."""
        line = self._lines[tenant]
        line.messages -= 1
        line.size -= size
        self._free += 1
        self._free_size += size

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncGenerator[None]:
        """Wait until a counted request of the tenant may go to the store. It occupies its place until its end."""
        line = self._lines[tenant]
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not line.waiting:
            self._order.append(line)
        line.waiting.append(turn)
        self._begin()
        try:
            await turn
            yield
        finally:
            if turn.cancelled():
                self._withdraw(line, turn)
            else:
                line.begun -= 1
                self._idle += 1
                self._begin()

    def _withdraw(self, line: _Line, turn: asyncio.Future[None]) -> None:
        line.waiting.remove(turn)
        if not line.waiting:
            self._order.remove(line)

    def _begin(self) -> None:
        """Begin the requests that may begin now, one of each tenant in turn."""
        share, passed = self._share, 0
        while self._idle and passed < len(self._order):
            line = self._order.popleft()
            turn = next((turn for turn in line.waiting if not turn.done()), None)
            if turn is None or line.begun >= share:
                passed += 1
                self._order.append(line)
                continue
            passed = 0
            self._idle -= 1
            line.begun += 1
            line.waiting.remove(turn)
            turn.set_result(None)
            if line.waiting:
                self._order.append(line)

    @property
    def _share(self) -> int:
        """Requests that each tenant may have at the store now."""
        until = time.monotonic() - _RECENT_SECONDS
        for tenant, line in list(self._lines.items()):
            if line.seen > until:
                break
            if not line.messages:
                del self._lines[tenant]
        return self._most if len(self._lines) < 2 else max(1, self._shared // len(self._lines))
