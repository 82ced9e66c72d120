"""Publishing to one exchange with confirms."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import memq_amqp
from memq_amqp import Envelope, Lost, cancellable, encode
from memq_amqp.refusals import LOSSES, refusal_of

from memq_schemas.properties import NO_HEADERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from aio_pika.abc import AbstractChannel
    from memq_amqp import Frames

    from memq.connection.message import Message


GONE = LOSSES


@contextmanager
def losing() -> Generator[None]:
    """Raise Lost for every way in which aiormq reports that a connection or channel is gone."""
    try:
        with cancellable():
            yield
    except LOSSES as error:
        refusal = refusal_of(error)
        raise Lost(str(refusal or error) or type(error).__name__, refusal) from error


class Publisher:
    """Confirmed, mandatory publishing to one exchange, on a channel that nobody else uses."""

    def __init__(self, publisher: memq_amqp.Publisher, exchange: str) -> None:
        self._publisher = publisher
        self.exchange = exchange

    def publish(self, message: Message, routing_key: str, heard: Callable[[], None]) -> Awaitable[None]:
        """Return once the broker has confirmed; there is no timeout.

        heard: called when the broker has confirmed it, or said that no queue takes it. Raises memq_amqp's Returned,
        Refused, Lost and MessageRefused.
        """
        return self._publisher.publish_encoded(
            self.exchange, routing_key, message.body, message.message_id, _encoded(message), heard
        )

    def close(self, reason: str) -> None:
        """Expect nothing more of the broker. Who waits is told Lost, at once or when the connection is closed."""
        self._publisher.close(reason)


async def publisher(channel: AbstractChannel, exchange: str, frames: Frames | None) -> Publisher:
    """The publisher of a channel that raises on returned messages. frames: what its connection reads through."""
    return Publisher(memq_amqp.publisher(await channel.get_underlay_channel(), frames), exchange)


def _encoded(message: Message) -> bytes:
    properties = message.properties
    sent_ms = message.sent_ms
    # A message of the producer's own: of its envelopes few differ in more than id and time.
    if (
        properties.headers is NO_HEADERS
        and not message.headers
        and properties.correlation_id is None
        and sent_ms is not None
    ):
        return _envelope(properties).encoded(message.message_id, sent_ms)
    return encode(message.whole())


# What writes have in common: a few content types.
_envelope = lru_cache(maxsize=64)(Envelope)
