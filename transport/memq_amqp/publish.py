"""Confirmed, mandatory publishing, with frames of ours or with aiormq's."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from memq_amqp.loss import Refused, Returned, cancellable, outcome_of
from memq_amqp.refusals import LOSSES
from memq_amqp.wire.frames import check_room, largest_frame
from memq_amqp.wire.properties import encode
from memq_amqp.wire.publisher import ConfirmingPublisher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiormq.abc import AbstractChannel

    from memq_amqp.wire.frames import Frames
    from memq_schemas.properties import Properties

    OnConfirm = Callable[[], None] | None


class Publisher(Protocol):
    """Confirmed, mandatory publishing on a channel that is used for nothing else."""

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Return once the broker has confirmed; there is no timeout and no limit on what is unconfirmed.

        `message_id` is replaced by one of this attempt's own. Raises Returned, Refused, Lost, MessageRefused, and
        ValueError for properties that AMQP cannot hold.
        """
        ...

    def publish_encoded(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        message_id: str,
        properties: bytes,
        on_confirm: OnConfirm = None,
    ) -> Awaitable[None]:
        """Publish like `publish`, with an encoded property list that contains the attempt's own `message_id`.

        on_confirm: called when the broker has confirmed it, even if that is after its publisher has given up.
        """
        ...

    def close(self, reason: str = ...) -> None:
        """Expect nothing more of the broker. Who waits is told Lost, at once or when the connection is closed."""
        ...


def publisher(channel: AbstractChannel, frames: Frames | None) -> Publisher:
    """The publisher of a channel in confirm mode that raises on returned messages.

    frames: what its connection reads through; None for aiormq's own.
    """
    if frames is None:
        return StockPublisher(channel)
    confirming = ConfirmingPublisher(channel)
    frames.attach(channel.number, confirming)
    return confirming


class StockPublisher:
    """Publishes as aiormq does."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._largest = largest_frame(channel)
        self._token = uuid4().hex
        self._attempts = itertools.count(1)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        # aiormq reports a false confirm when two publishes in flight share one.
        message_id = f"{self._token}-{next(self._attempts)}"
        encoded = encode(properties._replace(message_id=message_id))
        await self.publish_encoded(exchange, routing_key, body, message_id, encoded)

    async def publish_encoded(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        message_id: str,
        properties: bytes,
        on_confirm: OnConfirm = None,
    ) -> None:
        check_room(properties, self._largest)
        given = _Encoded(message_id, properties)
        try:
            with cancellable():
                await self._channel.basic_publish(
                    body, exchange=exchange, routing_key=_Key(routing_key), properties=given, mandatory=True
                )
        except PublishError as error:
            if on_confirm is not None:
                on_confirm()
            raise Returned from error
        except DeliveryError as error:
            raise Refused from error
        except LOSSES as error:
            raise outcome_of(error, len(body)) from error
        if on_confirm is not None:
            on_confirm()

    def close(self, reason: str = "the channel was closed") -> None:
        """aiormq fails what waits when the connection is closed."""


class _Encoded(Basic.Properties):
    """A property list for aiormq to write as it is."""

    def __init__(self, message_id: str, encoded: bytes) -> None:
        super().__init__(message_id=message_id)
        self._list = encoded

    def marshal(self) -> bytes:
        return self._list


class _Key(str):
    """A routing key for aiormq to write as it was read."""

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, "surrogateescape" if errors == "strict" else errors)
