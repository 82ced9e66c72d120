import asyncio
import logging
import time
import uuid
from collections.abc import Callable

import memq_amqp
from memq_amqp import Channel, How, Lost, Settlement

from memq_schemas.properties import Properties
from memq_schemas.tenants import Whose
from memq_schemas.topology import BULK, LIVE
from memq_worker.amqp.byte_pause import REASON
from memq_worker.amqp.failure import lost, reason
from memq_worker.amqp.prefetch import AckLedger, LaneBytes, Prefetch
from memq_worker.amqp.publishing import Publishing
from memq_worker.amqp.replies import Replies
from memq_worker.errors import BrokerUnavailable
from memq_worker.pipeline.delivery import Delivery, Times, lane_of

logger = logging.getLogger(__name__)

Accept = Callable[[Delivery], None]

_REMEMBERED_SECONDS = 60.0  # for which a settlement may not be applied yet


class ConsumerLink:
    """One consumer on one channel, for as long as that channel lives: pipeline.delivery.Link over AMQP.

    Or, where `consume` is never called, the one who takes messages of its queue one by one.
    """

    def __init__(
        self,
        channel: Channel,
        queue: str,
        publisher: Publishing,
        replies: Replies,
        ended: Callable[[str], None],
        whose: Whose,
        *,
        lane: str = LIVE,
    ) -> None:
        """lane: the lane of the queue's writes."""
        self._whose = whose
        self._reply_exchanges = f"{whose.names.prefix}.r."
        self._channel = channel
        self._queue = queue
        self._lane = lane
        self._publisher = publisher
        self._replies = replies
        self._ended = ended
        self._returning = False  # what is received is handed back
        self._ledger = AckLedger()
        self._told = 0.0  # when the broker was told of a settlement last
        self._bytes: LaneBytes | None = None
        self._wake = asyncio.Event()
        self._tag = ""
        self._stopped: set[str] = set()  # why it does not consume
        self._prefetch = Prefetch(1)
        self._asked = 0
        self._before = 0  # the tag of the last delivery to earlier consumers
        self._changing = asyncio.Lock()
        self._change: asyncio.Task[None] | None = None
        self._consumer: memq_amqp.Consumer | None = None
        self._alive = True
        self._flusher = asyncio.create_task(self._flush_for_ever())

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def consuming(self) -> bool:
        """Return True if the consumer is active, or waits for its turn at the worker's memory."""
        return self._alive and (bool(self._tag) or self._consumer is None or self._stopped == {REASON})

    @property
    def queue(self) -> str:
        return self._queue

    @property
    def prefetch(self) -> int:
        """The most deliveries that are asked for at a time."""
        return self._asked or self._prefetch.count

    def renew_prefetch(self) -> int:
        """Return the deliveries that the next consumer asks for."""
        self._prefetch.renew()
        return self._prefetch.count

    @property
    def unsettled(self) -> int:
        return len(self._ledger)

    async def consume(
        self, prefetch: Prefetch, accept: Accept, *, timeout: float, bytes_of: LaneBytes | None = None
    ) -> None:
        """Begin to take deliveries and hand them to `accept`, which must not raise.

        bytes_of: account of the lane's unsettled bytes; None for a queue without one.
        """
        lane, whose = self._lane, self._whose
        self._bytes = bytes_of
        if bytes_of is not None and bytes_of.paused:
            self._stopped.add(REASON)
        operators = whose.names.bulk if lane == BULK else whose.names.commands

        def take(tag: int, redelivered: bool, exchange: str, key: str, properties: Properties, body: bytes) -> None:
            if self._alive:
                if self._returning:
                    self._ledger.delivered(tag)
                    self._ledger.settle(tag, How.REQUEUE)
                    return
                size = len(body)
                self._ledger.delivered(tag, size)
                tenant = None if exchange == operators else whose.received(self._queue, exchange, properties.headers)
                times = Times(time.perf_counter())
                accept(Delivery(self, tag, self._queue, key, body, properties, redelivered, lane, tenant, times))
                prefetch.add(size)
                if bytes_of is not None:
                    bytes_of.delivered(size)
                if self._asked != prefetch.count and self._change is None and self._filled:
                    self._change = asyncio.create_task(self._consume_anew(timeout))

        # The broker cancels a consumer when its queue goes away, and from 4.3 on when it holds a message too long.
        self._channel.on_cancel(lambda: self.abandon("consumer cancelled by the broker"))
        self._prefetch = prefetch
        self._consumer = self._channel.consumer(take)
        await self.resume_consuming(timeout)

    async def resume_consuming(self, timeout: float, why: str = "") -> None:
        """Consume again, unless it was stopped for another reason too."""
        async with self._changing:
            self._stopped.discard(why)
            if self._alive and not self._stopped and not self._tag and self._consumer is not None:
                await self._start(self._consumer, timeout)

    async def _start(self, consumer: memq_amqp.Consumer, timeout: float) -> None:
        self._asked, self._before = self.renew_prefetch(), self._ledger.last
        await self._channel.qos(self._asked, timeout)
        # RabbitMQ 4.3 closes the connection when a tag is used again, so each life has one of its own.
        tag = f"memq-{uuid.uuid4().hex}"
        await consumer.start(self._queue, tag, timeout=timeout)
        self._tag = tag

    @property
    def _filled(self) -> bool:
        """Return True if no delivery can be in transit to this consumer."""
        return self._ledger.counted(after=self._before) >= self._asked

    async def _consume_anew(self, timeout: float) -> None:
        # A consumer keeps the prefetch count it began with, so another takes its place; what the first was given is
        # settled later. Nothing may be under way to it, since that would go back to the queue and come out of order;
        # and not both at a time: a quorum queue gives each its own in one piece.
        try:
            async with self._changing:
                if self._alive and self._tag and self._filled and self._consumer is not None:
                    with lost():
                        await self._channel.cancel(self._tag, timeout)
                        await self._start(self._consumer, timeout)
                    logger.debug("prefetch changed", extra={"queue": self._queue, "prefetch": self._asked})
        except BrokerUnavailable as error:
            self.abandon(str(error))
        finally:
            self._change = None

    async def take_one(self, timeout: float) -> Delivery | None:
        """A delivery that is to be processed alone; None when the queue is empty, or this life over."""
        if not self._alive:
            return None
        got = await self._channel.get(self._queue, timeout)
        if got is None:
            return None
        self._ledger.delivered(got.tag)
        return Delivery(
            self,
            got.tag,
            self._queue,
            got.routing_key,
            got.body,
            got.properties,
            got.redelivered,
            lane_of(got.properties),
            self._whose.received(self._queue, got.exchange, got.properties.headers),
            alone=True,
        )

    async def stop_consuming(self, timeout: float, why: str = "") -> None:
        """Cancel the consumer until it is resumed for the same reason.

        The broker sends no more deliveries; those received can still be settled.
        """
        async with self._changing:
            self._stopped.add(why)
            if self._alive and self._tag:
                tag, self._tag = self._tag, ""
                await self._channel.cancel(tag, timeout)

    def ack(self, tag: int) -> None:
        self._ledger.settle(tag, How.ACK)
        self._wake.set()

    def nack(self, tag: int) -> None:
        # Sent when all that goes back is known: handed back one by one they would come again in another order.
        self._ledger.settle(tag, How.REQUEUE)

    def reject(self, tag: int) -> None:
        self._ledger.settle(tag, How.REJECT)
        self._wake.set()

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        if not self._alive:
            raise BrokerUnavailable("the channel was closed")
        if not exchange or exchange.startswith(self._reply_exchanges):
            await self._replies.publish(exchange, routing_key, body, properties)
        else:
            await self._publisher.publish(exchange, routing_key, body, properties)

    async def accepted(self, exchange: str, routing_key: str, properties: Properties) -> bool:
        return await self._publisher.accepted(exchange, routing_key, properties)

    def abandon(self, reason: str) -> None:
        if self._alive:
            self._alive = False
            self._ended(reason)

    async def flush(self) -> None:
        """Send every settlement that is due, except of what is handed back to the queue."""
        async with self._changing:
            await self._channel.settle(self._take(requeued=False))

    async def flush_all(self, timeout: float) -> None:
        """Send every settlement. Return once the broker has applied what may not be delivered again."""
        async with self._changing:
            await self._channel.settle(self._take(requeued=False))
            consumer = None if self._whose.names.is_request(self._queue) else self._consumer
            if consumer is not None and not self._tag and time.monotonic() - self._told < _REMEMBERED_SECONDS:
                await self._applied(consumer, timeout)
            await self._channel.settle(self._take(requeued=True))

    def _take(self, *, requeued: bool) -> list[Settlement]:
        before = self._ledger.size
        settlements = self._ledger.take(requeued=requeued)
        if settlements:
            self._told = time.monotonic()
            if self._bytes is not None:
                self._bytes.settled(before - self._ledger.size)
        return settlements

    async def _applied(self, consumer: memq_amqp.Consumer, timeout: float) -> None:
        """Return once a quorum queue has applied the settlements of this channel. Nothing may be consumed.

        RabbitMQ has 32 of them applied at a time. It keeps the others in the channel and forgets them when that is
        closed, and what was answered would be answered again. The queue takes a consumer after all settlements that it
        was sent, and the channel sends the others before it cancels the consumer.
        """
        tag = f"memq-{uuid.uuid4().hex}"
        self._returning = True
        try:
            await self._channel.qos(1, timeout)
            await consumer.start(self._queue, tag, arguments={"x-priority": -1}, timeout=timeout)
            await self._channel.cancel(tag, timeout)
        finally:
            self._returning = False

    async def _flush_for_ever(self) -> None:
        while self._alive:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Lost as error:
                self.abandon(reason(error))

    async def close(self, timeout: float) -> None:
        """End this life on purpose, once nothing is unsettled and nothing is consumed."""
        self.end()
        async with asyncio.timeout(timeout):
            await self._channel.close()

    def end(self) -> None:
        self._alive = False
        if self._bytes is not None:
            self._bytes.leave()
        memq_amqp.stop(self._flusher)
        if self._change is not None:
            memq_amqp.stop(self._change)
