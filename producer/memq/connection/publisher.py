"""Publishing to one exchange with confirms."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from memq_amqp import Envelope, encode

from memq_schemas.properties import NO_HEADERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import memq_amqp

    from memq.connection.message import Message


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
