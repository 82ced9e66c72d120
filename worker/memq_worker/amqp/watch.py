import asyncio
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity
from memq_amqp import get

from memq_worker.amqp.failure import lost
from memq_worker.amqp.patience import blocked, unblocked
from memq_worker.amqp.publishing import Publishing


class Unseen(Exception):
    """The broker does not show this queue: it is not there, or the user may not read it."""


@dataclass(frozen=True, slots=True)
class Depth:
    messages: int  # ready
    consumers: int


@dataclass(frozen=True, slots=True)
class Head:
    """published: epoch seconds; None without a message or timestamp.   looks: deliveries before this one."""

    published: float | None
    looks: int


class Watch:
    """Looks at queues, on a channel of its own: the broker closes it for a queue that is not there, and only it."""

    def __init__(self, connection: AbstractConnection, publishing: Publishing, timeout_seconds: float) -> None:
        self._connection = connection
        self._publishing = publishing
        self._timeout_seconds = timeout_seconds
        self._channel: AbstractChannel | None = None

    async def depth(self, queue: str) -> Depth:
        """Raises Unseen or BrokerUnavailable."""
        with lost():
            try:
                channel = await (await self._opened()).get_underlay_channel()
                declared = await channel.queue_declare(queue, passive=True, timeout=self._timeout_seconds)
            except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
                raise Unseen(queue) from error
        return Depth(declared.message_count or 0, declared.consumer_count or 0)

    async def head(self, queue: str) -> Head:
        """The message at the head of a queue.

        The message goes back to its place, which the broker counts as a delivery. Raises Unseen or BrokerUnavailable.
        """
        with lost():
            try:
                channel = await (await self._opened()).get_underlay_channel()
                head = await get(channel, queue, self._timeout_seconds)
                if head is None:
                    return Head(None, 0)
                await channel.basic_nack(head.tag, requeue=True, wait=False)
            except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
                raise Unseen(queue) from error
        looks = head.properties.headers.get("x-delivery-count")
        return Head(head.properties.published, looks if isinstance(looks, int) else 0)

    async def body(self, queue: str) -> bytes | None:
        """Body of the message at the head of a queue, which goes back to its place; None if the queue is empty.

        Raises Unseen or BrokerUnavailable.
        """
        with lost():
            try:
                channel = await (await self._opened()).get_underlay_channel()
                head = await get(channel, queue, self._timeout_seconds)
                if head is None:
                    return None
                await channel.basic_nack(head.tag, requeue=True, wait=False)
            except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
                raise Unseen(queue) from error
        return head.body

    async def _opened(self) -> AbstractChannel:
        if self._channel is None or self._channel.is_closed:
            async with asyncio.timeout(self._timeout_seconds):
                self._channel = await self._connection.channel(publisher_confirms=False)
        return self._channel

    async def blocked(self) -> bool:
        """Return True between connection.blocked and connection.unblocked. Raises BrokerUnavailable."""
        return await blocked(self._publishing.connection)

    async def unblocked(self) -> None:
        """Raises BrokerUnavailable."""
        await unblocked(self._publishing.connection)
