"""The queue of one connection on which answers come."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING
from uuid import uuid4

import aiormq.exceptions
import memq_amqp
from memq_amqp import Refused

from memq.connection.publisher import losing
from memq.errors import ConfigurationError
from memq_schemas.tenants import TenantNames

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import AbstractChannel, AbstractConnection

    from memq.connection.address import Address
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
        address: Address,
        connection: AbstractConnection,
        names: Names | TenantNames,
        pending: Pending,
        lost: Callable[[str], None],
    ) -> None:
        """lost: called with the reason when answers no longer come."""
        self._address = address
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
            with losing():
                async with asyncio.timeout(DECLARE_SECONDS):
                    return await self._declared(await self._connection.channel(publisher_confirms=False))
        except TimeoutError:
            raise Refused(f"the broker did not create a reply queue within {DECLARE_SECONDS:g} s") from None

    async def _declared(self, channel: AbstractChannel) -> str:
        try:
            queue = await channel.declare_queue(self._names.reply(uuid4().hex), exclusive=True, auto_delete=True)
            if isinstance(self._names, TenantNames):
                await queue.bind(self._names.replies, queue.name)
        except aiormq.exceptions.ChannelAccessRefused as error:
            raise ConfigurationError(f"RabbitMQ at {self._address} denies the user a right: {error}") from error
        except aiormq.exceptions.ChannelClosed as error:
            raise Refused(f"the broker refused to create a reply queue: {error}") from error
        underlay = await channel.get_underlay_channel()
        frames = memq_amqp.frames_of(self._connection)
        try:
            await memq_amqp.Consumer(underlay, frames, self._arrived).start(queue.name, "", no_ack=True)
        except BaseException:
            if frames is not None:
                frames.detach(underlay.number)
            raise
        underlay.on_consumer_cancel_callbacks.add(lambda _frame: self._lost("the reply queue was deleted"))
        channel.close_callbacks.add(self._closed)
        return queue.name

    def _arrived(
        self, _tag: int, _redelivered: bool, _exchange: str, _key: str, properties: Properties, body: bytes
    ) -> None:
        self._pending.arrived(properties.correlation_id, body)

    def _closed(self, _sender: object = None, error: BaseException | None = None) -> None:
        self._lost(str(error) if error and str(error) else "the channel for replies was closed")

    def end(self) -> None:
        """Fail waiting callers with Lost."""
        if self._making is not None:
            memq_amqp.stop(self._making)


def _failed(making: asyncio.Task[str]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)
