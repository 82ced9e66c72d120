"""Publishing with confirms: the only module that knows how a message reaches the broker."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import aio_pika
import aiormq.exceptions
import pamqp.exceptions
from memq_amqp import ConfirmingPublisher, Envelope, Lost, Refused, Returned, cancellable, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from aio_pika.abc import AbstractChannel, AbstractExchange
    from memq_amqp import Frames

    from memq.connection.message import Message


GONE = (aiormq.exceptions.AMQPError, pamqp.exceptions.PAMQPException, OSError, RuntimeError)


@contextmanager
def losing() -> Generator[None]:
    """Turns every way in which aiormq says that a connection or channel is gone into Lost."""
    try:
        with cancellable():
            yield
    except GONE as error:
        raise Lost(str(error) or type(error).__name__) from error


class Publisher(Protocol):
    """Confirmed, mandatory publishing to one exchange, on a channel that nobody else uses."""

    exchange: str

    def publish(self, message: Message, routing_key: str, heard: Callable[[], None]) -> Awaitable[None]:
        """Returns once the broker has confirmed. Raises Returned, Refused or Lost; has no timeout of its own.

        heard: called when the broker has confirmed it, or said that no queue takes it.
        """
        ...

    def close(self, reason: str) -> None:
        """Nothing more is expected of the broker: who waits is told Lost, at once or when the connection is closed."""
        ...


async def publisher(channel: AbstractChannel, exchange: str, frames: Frames | None) -> Publisher:
    """For a channel that raises on returned messages, read through `frames` if they are ours. Raises as aio_pika."""
    if frames is None:
        return StockPublisher(await channel.get_exchange(exchange, ensure=False))
    underlay = await channel.get_underlay_channel()
    confirming = ConfirmingPublisher(underlay)
    frames.attach(underlay.number, confirming)
    return FastPublisher(confirming, exchange)


class FastPublisher:
    def __init__(self, confirming: ConfirmingPublisher, exchange: str) -> None:
        self._confirming = confirming
        self.exchange = exchange

    def publish(self, message: Message, routing_key: str, heard: Callable[[], None]) -> Awaitable[None]:
        return self._confirming.publish_encoded(
            self.exchange, routing_key, message.body, message.message_id, _encoded(message), heard
        )

    def close(self, reason: str) -> None:
        self._confirming.close(reason)


def _encoded(message: Message) -> bytes:
    properties = message.properties
    # Only an envelope without headers can be a key of the cache.
    if message.headers or properties.headers is not None or properties.correlation_id is not None:
        return encode(message.whole())
    return _envelope(properties).encoded(message.message_id, message.timestamp)


# What writes have in common: a few content types.
_envelope = lru_cache(maxsize=64)(Envelope)


class StockPublisher:
    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange
        self.exchange = exchange.name

    async def publish(self, message: Message, routing_key: str, heard: Callable[[], None]) -> None:
        with losing():
            try:
                await self._exchange.publish(_stock(message), routing_key, mandatory=True)
            except aiormq.exceptions.PublishError as error:
                heard()
                raise Returned from error
            except aiormq.exceptions.DeliveryError as error:
                raise Refused from error
            heard()

    def close(self, reason: str) -> None:
        """aiormq fails what waits when the connection is closed."""


def _stock(message: Message) -> aio_pika.Message:
    values = message.properties
    return aio_pika.Message(
        message.body,
        headers=message.headers,
        content_type=values.content_type,
        content_encoding=values.content_encoding,
        delivery_mode=values.delivery_mode,
        priority=values.priority,
        correlation_id=values.correlation_id,
        reply_to=values.reply_to,
        # In seconds here, and in milliseconds on the wire.
        expiration=None if values.expiration is None else int(values.expiration) / 1000,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=values.type,
        app_id=values.app_id,
    )
