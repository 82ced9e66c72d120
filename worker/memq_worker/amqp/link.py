import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from memq_worker.amqp.acks import AckLedger
from memq_worker.amqp.failure import lost
from memq_worker.amqp.inline import InlineDeliveries, usable
from memq_worker.amqp.publish import Publisher
from memq_worker.errors import BrokerUnavailable
from memq_worker.pipeline.delivery import Delivery, Properties

logger = logging.getLogger(__name__)

Accept = Callable[[Delivery], None]


class ConsumerLink:
    """One consumer on one channel, for as long as that channel lives: pipeline.delivery.Link over AMQP."""

    def __init__(
        self, channel: AbstractChannel, queue: str, publisher: Publisher, ended: Callable[[str], None]
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._publisher = publisher
        self._ended = ended
        self._ledger = AckLedger()
        self._wake = asyncio.Event()
        self._tag = ""
        self._alive = True
        self._flusher = asyncio.create_task(self._flush_for_ever())

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def unsettled(self) -> int:
        return len(self._ledger)

    async def consume(self, prefetch: int, accept: Accept, *, alone: bool, inline: bool, timeout: float) -> None:
        """Begins to take deliveries and hand them to `accept`, which must not raise."""

        def take(deliver: Basic.Deliver, header: ContentHeader, body: bytes) -> None:
            if self._alive:
                delivery = _delivery(self, self._queue, deliver, header, body, alone)
                self._ledger.delivered(delivery.tag)
                accept(delivery)

        async def on_message(message: DeliveredMessage) -> None:
            # aiormq runs this in a task that it cancels when the channel dies: hand over, and do nothing else.
            if isinstance(message.delivery, Basic.Deliver):
                take(message.delivery, message.header, bytes(message.body))

        if inline and usable(self._channel):
            InlineDeliveries(self._channel, take)
        # The broker cancels a consumer when its queue goes away, and from 4.3 on when it holds a message too long.
        self._channel.on_consumer_cancel_callbacks.add(self._cancelled)
        await self._channel.basic_qos(prefetch_count=prefetch, timeout=timeout)
        # RabbitMQ 4.3 closes the connection when a tag is used again, so each life has one of its own.
        tag = f"memq-{uuid.uuid4().hex}"
        await self._channel.basic_consume(self._queue, on_message, consumer_tag=tag, timeout=timeout)
        self._tag = tag

    async def _cancelled(self, frame: object) -> None:
        self.abandon("consumer cancelled by the broker")

    async def stop_consuming(self, timeout: float) -> None:
        """After this returns the broker sends no more; what was delivered can still be settled."""
        if self._alive and self._tag:
            await self._channel.basic_cancel(self._tag, timeout=timeout)

    def ack(self, tag: int) -> None:
        self._ledger.ack(tag)
        self._wake.set()

    def nack(self, tag: int) -> None:
        self._ledger.nack(tag, requeue=True)
        self._wake.set()

    def reject(self, tag: int) -> None:
        self._ledger.nack(tag, requeue=False)
        self._wake.set()

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        if not self._alive:
            raise BrokerUnavailable("the channel is gone")
        await self._publisher.publish(exchange, routing_key, body, properties)

    def abandon(self, reason: str) -> None:
        if self._alive:
            self._alive = False
            self._ended(reason)

    async def flush(self) -> None:
        """Sends every acknowledgement that is due."""
        acks, returned = self._ledger.take()
        for tag, requeue in returned:
            await self._channel.basic_nack(tag, requeue=requeue, wait=False)
        for tag, multiple in acks:
            await self._channel.basic_ack(tag, multiple=multiple, wait=False)

    async def _flush_for_ever(self) -> None:
        while self._alive:
            await self._wake.wait()
            self._wake.clear()
            try:
                with lost():
                    await self.flush()
            except BrokerUnavailable as error:
                self.abandon(str(error))

    def end(self) -> None:
        self._alive = False
        self._flusher.cancel()


def _delivery(
    link: ConsumerLink, queue: str, deliver: Basic.Deliver, header: ContentHeader, body: bytes, alone: bool
) -> Delivery:
    properties = header.properties
    return Delivery(
        link=link,
        tag=deliver.delivery_tag or 0,
        queue=queue,
        routing_key=deliver.routing_key or "",
        body=body,
        properties=Properties(
            content_type=properties.content_type,
            content_encoding=properties.content_encoding,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to or None,
            message_id=properties.message_id,
            timestamp=_epoch(properties.timestamp),
            headers=properties.headers or {},
        ),
        redelivered=bool(deliver.redelivered),
        alone=alone,
    )


def _epoch(value: Any) -> float | None:
    return value.timestamp() if isinstance(value, datetime) else None
