import time
import uuid
from datetime import UTC, datetime
from typing import Protocol

import memq_amqp
from aiormq.abc import AbstractChannel
from aiormq.exceptions import DeliveryError, PublishError
from memq_amqp import ConfirmingPublisher, Frames, Lost, Refused, Returned
from pamqp.commands import Basic

from memq_schemas import headers
from memq_worker.amqp.failure import lost
from memq_worker.amqp.patience import Patience
from memq_worker.errors import BrokerUnavailable, Unconfirmed, Unroutable
from memq_worker.pipeline.delivery import Properties


class Publisher(Protocol):
    """Confirmed, mandatory publishing."""

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Raises Unroutable, Unconfirmed or BrokerUnavailable; ValueError for what cannot be sent at all."""
        ...


# Of a content header's frame: what is around its payload, what stands before the properties, and our message id.
_AROUND, _BEFORE, _MESSAGE_ID = 8, 12, 80
_UNLIMITED = 1 << 17


def check_room(channel: AbstractChannel, properties: Properties) -> None:
    """Raises ValueError for headers that do not fit a frame: the broker closes the connection that sends them."""
    room = (channel.connection.connection_tune.frame_max or _UNLIMITED) - _AROUND - _BEFORE - _MESSAGE_ID
    size = len(memq_amqp.encode(_values(properties)))
    if size > room:
        raise ValueError(f"headers: {size} bytes with what a copy adds, and a frame takes {room}")


def publisher(channel: AbstractChannel, frames: Frames | None, patience: Patience) -> Publisher:
    """For a channel that is used for nothing else, reading through `frames` if they are ours."""
    if frames is None:
        return StockPublisher(channel, patience)
    confirming = ConfirmingPublisher(channel)
    frames.attach(channel.number, confirming)
    return FastPublisher(channel, confirming, patience)


class FastPublisher:
    def __init__(self, channel: AbstractChannel, confirming: ConfirmingPublisher, patience: Patience) -> None:
        self._channel = channel
        self._confirming = confirming
        self._patience = patience

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        if exchange:
            check_room(self._channel, properties)
        try:
            async with self._patience.limit():
                await self._confirming.publish(exchange, routing_key, body, _values(properties))
        except Returned as error:
            raise Unroutable(f"no queue for exchange {exchange!r}") from error
        except Refused as error:
            raise Unconfirmed(f"exchange {exchange!r} refused a publish") from error
        except (Lost, TimeoutError) as error:
            raise BrokerUnavailable("the broker is gone or does not answer") from error


class StockPublisher:
    def __init__(self, channel: AbstractChannel, patience: Patience) -> None:
        self._channel = channel
        self._patience = patience

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        if exchange:
            check_room(self._channel, properties)
        with lost():
            try:
                async with self._patience.limit():
                    await self._channel.basic_publish(
                        body,
                        exchange=exchange,
                        routing_key=routing_key,
                        properties=_basic(properties),
                        mandatory=True,
                    )
            except PublishError as error:
                raise Unroutable(f"no queue for exchange {exchange!r}") from error
            except DeliveryError as error:
                raise Unconfirmed(f"exchange {exchange!r} refused a publish") from error


def _values(properties: Properties) -> memq_amqp.Properties:
    stamp = properties.timestamp
    return memq_amqp.Properties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        headers=properties.headers,
        delivery_mode=headers.PERSISTENT if properties.persistent else headers.TRANSIENT,
        priority=headers.PRIORITY,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        timestamp=int(time.time() if stamp is None else stamp),
        app_id=headers.APP_ID,
    )


def _basic(properties: Properties) -> Basic.Properties:
    values = _values(properties)
    return Basic.Properties(
        content_type=values.content_type,
        content_encoding=values.content_encoding,
        headers=dict(properties.headers),
        delivery_mode=values.delivery_mode,
        priority=values.priority,
        correlation_id=values.correlation_id,
        reply_to=values.reply_to,
        # Of each attempt its own: aiormq reports a false confirm when two in flight share one.
        message_id=uuid.uuid4().hex,
        timestamp=datetime.fromtimestamp(values.timestamp or 0, UTC),
        app_id=values.app_id,
    )
