"""Consuming from a queue, and taking single messages, through either codec and one decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pamqp.commands import Basic

from memq_amqp.loss import losing
from memq_amqp.wire.deliveries import Deliveries
from memq_amqp.wire.readable_frames import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiormq.abc import AbstractChannel, DeliveredMessage

    from memq_amqp.wire.deliveries import Receive
    from memq_amqp.wire.frames import Frames
    from memq_schemas.properties import Properties


class Received(NamedTuple):
    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Properties
    body: bytes


class Consumer:
    """The consumers of one channel, one after the other: each message is handed to `receive`."""

    def __init__(self, channel: AbstractChannel, frames: Frames | None, receive: Receive) -> None:
        """frames: what the channel's connection reads through; None for aiormq's own."""
        self._channel = channel
        self._receive = receive
        if frames is not None:
            frames.attach(channel.number, Deliveries(receive))

    async def start(
        self,
        queue: str,
        tag: str = "",
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Start a consumer. Raises Lost. A tag that was used before ends the connection on RabbitMQ 4.3."""
        given = None if arguments is None else dict(arguments)
        with losing():
            await self._channel.basic_consume(
                queue,
                self._from_aiormq,
                no_ack=no_ack,
                exclusive=exclusive,
                consumer_tag=tag,
                arguments=given,
                timeout=timeout,
            )

    async def _from_aiormq(self, message: DeliveredMessage) -> None:
        # aiormq runs this in a task that it cancels when the channel dies: hand over, and do nothing else.
        deliver = message.delivery
        if isinstance(deliver, Basic.Deliver):
            key, properties = read(message)
            tag, exchange = deliver.delivery_tag or 0, deliver.exchange or ""
            self._receive(tag, bool(deliver.redelivered), exchange, key, properties, bytes(message.body))


async def get(channel: AbstractChannel, queue: str, timeout: float | None = None) -> Received | None:
    """The message at the head of a queue, unacknowledged; None when it is empty. Raises as aiormq."""
    message = await channel.basic_get(queue, timeout=timeout)
    found = message.delivery
    if not isinstance(found, Basic.GetOk):
        return None
    key, properties = read(message)
    tag, exchange = found.delivery_tag or 0, found.exchange or ""
    return Received(tag, bool(found.redelivered), exchange, key, properties, bytes(message.body))
