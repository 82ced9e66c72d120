"""The queue of one connection on which answers come."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING
from uuid import uuid4

from memq_amqp import Lost, Refused, losing, stop
from memq_amqp.refusals import Kind

from memq.errors import ConfigurationError
from memq_schemas.tenants import TenantNames

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq_amqp import Channel, Connection

    from memq.connection.replies import Pending
    from memq_schemas import Names
    from memq_schemas.properties import Properties

DECLARE_SECONDS = 10.0


class ReplyQueue:
    """Made at the first question: who only writes needs none, and is not kept by a broker that cannot make it now.

    It is on a channel of its own, but of the connection that publishes: an exclusive queue is visible to no other.
    """

    def __init__(
        self,
        connection: Connection,
        names: Names | TenantNames,
        pending: Pending,
        lost: Callable[[str], None],
    ) -> None:
        """lost: called with the reason when answers no longer come."""
        self._address = connection.address
        self._connection = connection
        self._names = names
        self._pending = pending
        self._lost = lost
        self._making: asyncio.Task[str] | None = None

    async def name(self) -> str:
        """Return the queue's name when the broker has declared it; the caller sets the timeout.

        Raises Refused when another try may work, Lost when the connection is gone, and ConfigurationError.
        """
        if self._making is None or _failed(self._making):
            # One for all who ask, none of whom takes it along when he gives up, and with nobody's context.
            self._making = asyncio.create_task(self._make(), name="memq-replies", context=contextvars.Context())
            self._making.add_done_callback(_failed)
        with losing():
            return await asyncio.shield(self._making)

    async def _make(self) -> str:
        try:
            async with asyncio.timeout(DECLARE_SECONDS):
                return await self._declared(await self._connection.channel(confirms=False))
        except TimeoutError:
            raise Refused(f"the broker did not create a reply queue within {DECLARE_SECONDS:g} s") from None

    async def _declared(self, channel: Channel) -> str:
        try:
            queue = await channel.declare_queue(self._names.reply(uuid4().hex), exclusive=True)
            if isinstance(self._names, TenantNames):
                await channel.bind(queue.name, self._names.replies, queue.name)
        except Lost as error:
            if error.kind is Kind.PERMISSION:
                raise ConfigurationError(f"RabbitMQ at {self._address} denies the user a right: {error}") from error
            if error.refusal is None or error.refusal.code is None:
                raise
            raise Refused(f"the broker refused to create a reply queue: {error}") from error
        channel.on_cancel(lambda: self._lost("the reply queue was deleted"))
        channel.on_close(lambda error: self._lost(f"the channel for replies was closed: {error}"))
        await channel.consumer(self._arrived).start(queue.name, no_ack=True)
        return queue.name

    def _arrived(
        self, _tag: int, _redelivered: bool, _exchange: str, _key: str, properties: Properties, body: bytes
    ) -> None:
        self._pending.arrived(properties.correlation_id, body)

    def end(self) -> None:
        """Fail waiting callers with Lost."""
        if self._making is not None:
            stop(self._making)


def _failed(making: asyncio.Task[str]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)
