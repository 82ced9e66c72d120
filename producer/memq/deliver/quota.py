"""The reason for a nack, which has none: asked of the worker."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, NamedTuple

from memq_amqp import stopped

from memq.errors import MemqError, QuotaExceeded
from memq_schemas.topology import BULK, LIVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memq_schemas import TenantLimit
    from memq_schemas.tenants import TenantNames

# An answer serves all messages that the broker rejects within this time.
_FRESH_SECONDS = 0.5


class _Answer(NamedTuple):
    limits: list[TenantLimit]
    asked: float  # loop time
    answered: float


class Quota:
    """Tells a tenant's producer whether the broker rejects its writes because a limit is reached."""

    def __init__(self, names: TenantNames, ask: Callable[[], Awaitable[list[TenantLimit]]]) -> None:
        """ask: sends the request `limits`. Raises MemqError."""
        self._lanes = {names.commands: LIVE, names.bulk: BULK}
        self._ask = ask
        self._asking: asyncio.Task[_Answer] | None = None
        self._answer: _Answer | None = None

    async def check(self, routing_key: str, exchange: str, since: float) -> None:
        """Raise QuotaExceeded if the lane is full; return if it is not, or if no worker answers.

        exchange: the message was published to it; return at once for an exchange of no lane.
        since: loop time of the first nack of this message.

        A channel that was told that a queue is full stays refused until a fifth of the limit is free, while others may
        publish. So a lane that has room for a worker counts as full for a message that is nacked again: its queue has
        a leader, and nothing but the limit is left as the reason.
        """
        if (lane := self._lanes.get(exchange)) is None:
            return
        before = self._answer
        if before is not None and before.asked >= since and (limit := _of(before, lane)) is not None:
            raise _full(routing_key, limit)
        limit = _of(await self._fresh(), lane)
        if limit is not None and limit.reached:
            raise _full(routing_key, limit)

    async def _fresh(self) -> _Answer:
        loop, answer = asyncio.get_running_loop(), self._answer
        if answer is not None and loop.time() < answer.answered + _FRESH_SECONDS:
            return answer
        if self._asking is None or self._asking.done():
            # With nothing of the caller's context: one answer serves many calls.
            self._asking = loop.create_task(self._asked(), name="memq-limits", context=contextvars.Context())
        return await asyncio.shield(self._asking)

    async def _asked(self) -> _Answer:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            limits = await self._ask()
        except MemqError:
            limits = []
        self._answer = _Answer(limits, asked, loop.time())
        return self._answer

    async def close(self) -> None:
        await stopped(self._asking)


def _of(answer: _Answer, lane: str) -> TenantLimit | None:
    """Return the limit of the lane, if the worker knows whether the lane takes messages."""
    return next((limit for limit in answer.limits if limit.lane == lane and limit.reached is not None), None)


def _full(routing_key: str, limit: TenantLimit) -> QuotaExceeded:
    return QuotaExceeded(
        limit.name,
        f"{routing_key}: {limit.name}: the tenant's {limit.lane} lane is full, its limit is {limit.limit:,} bytes of "
        "waiting messages; try again after workers have written some of them",
    )
