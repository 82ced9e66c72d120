"""A connection and its channels: what memq uses of aio_pika and aiormq, with one way to fail."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from memq_amqp.connect import frames_of
from memq_amqp.consume import Consumer, get
from memq_amqp.loss import Lost, cancellable, losing, loss
from memq_amqp.publish import publisher
from memq_amqp.refusals import LOSSES
from memq_amqp.wire.deliveries import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aio_pika.abc
    import aiormq.abc

    from memq_amqp.address import Address
    from memq_amqp.consume import Received
    from memq_amqp.publish import Publisher
    from memq_amqp.wire.deliveries import Receive
    from memq_amqp.wire.frames import Frames

    Ended = Callable[[Lost], None]


class Declared(NamedTuple):
    name: str
    messages: int
    """Ready messages."""
    consumers: int


class Connection:
    """One AMQP connection. Each call raises Lost, with the broker's reason, and nothing else."""

    def __init__(self, raw: aio_pika.abc.AbstractConnection, address: Address) -> None:
        self.address = address
        self._raw = raw
        self._frames = frames_of(raw)

    @property
    def closed(self) -> bool:
        return self._raw.is_closed

    @property
    def version(self) -> str:
        """Version that the broker gave of itself; empty if it gave none."""
        transport: Any = self._raw.transport
        return "" if transport is None else str(transport.connection.server_properties.get("version", ""))

    async def channel(self, *, confirms: bool = True) -> Channel:
        """Open a channel. confirms: the broker confirms what is published on it, and returns what no queue takes."""
        with losing():
            raw = await self._raw.channel(publisher_confirms=confirms, on_return_raises=confirms)
            underlay = await raw.get_underlay_channel()
        if self._frames is not None:
            # The number may have been that of a channel which is closed by now.
            self._frames.detach(underlay.number)
        return Channel(raw, underlay, self._frames)

    def on_close(self, ended: Ended) -> None:
        """Call `ended`, which must not raise, when the connection is closed or lost."""
        self._raw.close_callbacks.add(_callback(ended, "connection closed"))

    async def blocked(self) -> bool:
        """Return True between connection.blocked and connection.unblocked: the broker is short of memory or disk."""
        try:
            # Does not wait unless it is blocked.
            async with asyncio.timeout(0):
                await self.unblocked()
        except TimeoutError:
            return True
        return False

    async def unblocked(self) -> None:
        """Return once the broker does not block the connection."""
        with losing():
            transport = self._raw.transport
            if transport is None or self.closed:
                raise Lost("connection closed")
            await transport.ready()

    async def close(self, timeout: float) -> None:
        """Close, and wait at most `timeout` seconds for the broker's answer. Never raises."""
        try:
            async with asyncio.timeout(timeout):
                with cancellable():
                    await self._raw.close()
        except (*LOSSES, Lost):  # TimeoutError among them
            return


class Channel:
    """One AMQP channel. Each call raises Lost, with the broker's reason, and nothing else.

    The broker closes the channel together with most refusals, and only it.
    """

    def __init__(
        self, raw: aio_pika.abc.AbstractChannel, underlay: aiormq.abc.AbstractChannel, frames: Frames | None
    ) -> None:
        self._raw = raw
        self._underlay = underlay
        self._frames = frames
        self.settle = partial(settle, underlay)
        """Settle deliveries: memq_amqp.wire.deliveries.settle."""

    @property
    def closed(self) -> bool:
        return self._underlay.is_closed

    def on_close(self, ended: Ended) -> None:
        """Call `ended`, which must not raise, when the channel is closed or lost."""
        self._raw.close_callbacks.add(_callback(ended, "channel closed"))

    def on_cancel(self, cancelled: Callable[[], None]) -> None:
        """Call `cancelled` when the broker cancels a consumer: its queue is gone, or it held a message too long."""

        async def callback(_frame: object) -> None:
            cancelled()

        self._underlay.on_consumer_cancel_callbacks.add(callback)

    async def declare_exchange(self, name: str, kind: str = "topic", *, passive: bool = False) -> None:
        """Declare a durable exchange. passive: make sure that it is there."""
        with losing():
            await self._underlay.exchange_declare(name, exchange_type=kind, durable=True, passive=passive)

    async def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Declared:
        """Declare a queue. passive: make sure that it is there.   exclusive: of this connection, and deleted with it or
        its last consumer."""
        given = None if arguments is None else dict(arguments)
        with losing():
            found = await self._underlay.queue_declare(
                name,
                passive=passive,
                durable=durable and not exclusive,
                exclusive=exclusive,
                auto_delete=exclusive,
                arguments=given,
                timeout=timeout,
            )
        return Declared(found.queue or name, found.message_count or 0, found.consumer_count or 0)

    async def bind(
        self, queue: str, exchange: str, routing_key: str, arguments: Mapping[str, Any] | None = None
    ) -> None:
        with losing():
            await self._underlay.queue_bind(queue, exchange, routing_key, arguments=dict(arguments or {}))

    async def delete_queue(self, name: str) -> None:
        with losing():
            await self._underlay.queue_delete(name)

    async def delete_exchange(self, name: str) -> None:
        with losing():
            await self._underlay.exchange_delete(name)

    def publisher(self) -> Publisher:
        """The publisher of this channel, which is used for nothing else and has confirms."""
        return publisher(self._underlay, self._frames)

    def consumer(self, receive: Receive) -> Consumer:
        """The consumers of this channel, one after the other."""
        return Consumer(self._underlay, self._frames, receive)

    async def qos(self, prefetch: int, timeout: float | None = None) -> None:
        """Limit the unacknowledged deliveries of the next consumer."""
        with losing():
            await self._underlay.basic_qos(prefetch_count=prefetch, timeout=timeout)

    async def cancel(self, tag: str, timeout: float | None = None) -> None:
        """Cancel a consumer; what it has received can still be acknowledged."""
        with losing():
            await self._underlay.basic_cancel(tag, timeout=timeout)

    async def get(self, queue: str, timeout: float | None = None) -> Received | None:
        """Take the message at the head of a queue, unacknowledged; None if there is none."""
        with losing():
            return await get(self._underlay, queue, timeout)

    async def ack(self, tag: int) -> None:
        """Acknowledge one delivery; return when the socket has taken that."""
        with losing():
            await self._underlay.basic_ack(tag)

    async def requeue_all(self) -> None:
        """Give every unacknowledged delivery back to its queue, and return when the broker has read that."""
        with losing():
            await self._underlay.basic_nack(0, multiple=True, requeue=True)
            await self._underlay.basic_qos(prefetch_count=1)

    async def close(self) -> None:
        with losing():
            await self._raw.close()


def _callback(ended: Ended, otherwise: str) -> Callable[..., None]:
    def callback(_sender: object, error: BaseException | None = None) -> None:
        ended(Lost(otherwise) if error is None else loss(error, otherwise))

    return callback
