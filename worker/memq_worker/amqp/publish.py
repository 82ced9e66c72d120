import asyncio
import uuid
from datetime import UTC, datetime

from aiormq.abc import AbstractChannel
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from memq_schemas import headers
from memq_worker.amqp.failure import lost
from memq_worker.errors import Unconfirmed, Unroutable
from memq_worker.pipeline.delivery import Properties


class Publisher:
    """Confirmed, mandatory publishing on a channel that is used for nothing else."""

    def __init__(self, channel: AbstractChannel, timeout_seconds: float) -> None:
        self._channel = channel
        self._timeout_seconds = timeout_seconds

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Raises Unroutable, Unconfirmed or BrokerUnavailable."""
        with lost():
            try:
                # aiormq has no timeout of its own, and a blocked broker answers never.
                async with asyncio.timeout(self._timeout_seconds):
                    await self._channel.basic_publish(
                        body,
                        exchange=exchange,
                        routing_key=routing_key,
                        properties=_wire(properties),
                        mandatory=True,
                    )
            except PublishError as error:
                raise Unroutable(f"no queue for exchange {exchange!r}") from error
            except DeliveryError as error:
                raise Unconfirmed(f"exchange {exchange!r} refused a publish") from error


def _wire(properties: Properties) -> Basic.Properties:
    stamp = properties.timestamp
    return Basic.Properties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        # Of each attempt its own: aiormq reports a false confirm when two in flight share one.
        message_id=uuid.uuid4().hex,
        timestamp=datetime.now(UTC) if stamp is None else datetime.fromtimestamp(stamp, UTC),
        headers=dict(properties.headers),
        delivery_mode=headers.PERSISTENT if properties.persistent else headers.TRANSIENT,
        priority=headers.PRIORITY,
        app_id=headers.APP_ID,
    )
