"""Publishing with confirms: the only module that knows how a message reaches the broker."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import aio_pika
import aiormq.exceptions
import memq_transport
import pamqp.exceptions
from memq_transport import ConfirmingPublisher, Envelope, Lost, Refused, Returned, encode

from memq.errors import Unroutable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aio_pika.abc import AbstractConnection, AbstractExchange

    from memq.message import Message


GONE = (aiormq.exceptions.AMQPError, pamqp.exceptions.PAMQPException, OSError, RuntimeError)


@contextmanager
def losing() -> Generator[None]:
    """Turns every way in which aiormq says that a connection or channel is gone into Lost."""
    task = asyncio.current_task()
    cancels = task.cancelling() if task else 0
    try:
        yield
    except GONE as error:
        raise Lost(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        # aiormq cancels what waits on a connection that died; nobody asked our task to stop.
        if task is not None and task.cancelling() > cancels:
            raise
        raise Lost("the connection was lost") from error


class Publisher(Protocol):
    """Confirmed, mandatory publishing to one exchange, on a channel that nobody else uses."""

    exchange: str

    async def publish(self, message: Message, routing_key: str) -> None:
        """Returns once the broker has confirmed. Raises Unroutable, Refused or Lost; has no timeout of its own."""
        ...


async def publisher(connection: AbstractConnection, exchange: str, closed: Callable[..., None]) -> Publisher:
    """On a channel of its own; `closed` is called when that is gone. Raises as aio_pika."""
    frames = memq_transport.frames_of(connection)
    channel = await connection.channel(on_return_raises=True)
    channel.close_callbacks.add(closed)
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

    async def publish(self, message: Message, routing_key: str) -> None:
        encoded = _encoded(message)
        try:
            await self._confirming.publish_encoded(
                self.exchange, routing_key, message.body, message.message_id, encoded
            )
        except Returned:
            raise _unroutable(routing_key) from None


def _encoded(message: Message) -> bytes:
    properties = message.properties
    if message.headers or properties.correlation_id is not None:
        return encode(message.whole())
    return _envelope(properties).encoded(message.message_id, message.timestamp)


# What writes have in common: a few content types.
_envelope = lru_cache(maxsize=64)(Envelope)


class StockPublisher:
    """The channel of the exchange has to raise on returned messages."""

    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange
        self.exchange = exchange.name

    async def publish(self, message: Message, routing_key: str) -> None:
        with losing():
            try:
                await self._exchange.publish(_stock(message), routing_key, mandatory=True)
            except aiormq.exceptions.PublishError:
                raise _unroutable(routing_key) from None
            except aiormq.exceptions.DeliveryError as error:
                raise Refused from error


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


def _unroutable(routing_key: str) -> Unroutable:
    return Unroutable(
        f"no queue takes {routing_key}: declare memq's topology with `memq-worker declare`, or start a worker"
    )
