"""A channel as the worker sees it and as the broker does, which is not always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError, DeliveryError, PublishError
from memq_amqp import How, Settlement, decode, encode
from memq_amqp.wire.readable_frames import RAW
from pamqp.commands import Basic, Queue
from pamqp.header import ContentHeader

from memq_schemas import Names
from memq_schemas.properties import Properties
from tests.simulation.ledger import Publication

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from tests.simulation.broker import Copy
    from tests.simulation.client import Connection


NAMES = Names()


class Channel:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.close_callbacks: set[Callable[..., None]] = set()
        self.on_consumer_cancel_callbacks: set[Callable[..., Any]] = set()
        self.open = True  # as the client knows
        self.prefetch = 0
        self.unacked: dict[int, Copy] = {}  # as the broker knows
        self.queue = ""
        self._broker = connection.broker
        self._callback: Any = None
        self._tag = ""
        self._tags = 0
        self._publishes: dict[asyncio.Future[None], None] = {}

    async def get_underlay_channel(self) -> Channel:
        return self

    async def basic_qos(self, *, prefetch_count: int, timeout: float) -> None:
        def at_broker() -> None:
            self.prefetch = prefetch_count

        await self._call(at_broker, timeout)

    async def close(self) -> None:
        self.open = False
        self.gone()

    async def basic_consume(
        self, queue: str, callback: Any, *, no_ack: bool, consumer_tag: str, timeout: float, **_: Any
    ) -> None:
        assert not no_ack
        self._callback = callback

        def at_broker() -> None:
            self.queue, self._tag = queue, consumer_tag
            target = self._broker.queues[queue]
            target.consumers.append(self)
            self._broker.world.loop.call_soon(self._broker.pump, target)

        await self._call(at_broker, timeout)

    async def basic_cancel(self, tag: str, *, timeout: float) -> None:
        await self._call(self._leave, timeout)

    async def queue_declare(self, queue: str, *, passive: bool, timeout: float = 5.0, **_: Any) -> Queue.DeclareOk:
        assert passive
        there = self._broker.queues[queue]
        return await self._call(lambda: Queue.DeclareOk(queue, len(there.ready), len(there.consumers)), timeout)

    async def basic_get(self, queue: str, *, timeout: float) -> DeliveredMessage:
        def at_broker() -> tuple[int, Copy] | None:
            self.queue = queue
            ready = self._broker.queues[queue].ready
            return self._taken(ready.popleft()) if ready else None

        taken = await self._call(at_broker, timeout)
        if taken is None:
            return DeliveredMessage(Basic.GetEmpty(), ContentHeader(), b"", None)  # pyright: ignore[reportArgumentType]
        tag, copy = taken
        name, properties = self._named(copy)
        world, body = self._broker.world, copy.message.body
        if queue == NAMES.tenants and world.scenario.rollout is not None:
            body = world.scenario.rollout.announced(world.loop.time())
        else:
            self._broker.ledger.delivered(self, tag, copy, name)
        delivery = Basic.GetOk(tag, copy.redelivered, copy.exchange, copy.message.key)
        return DeliveredMessage(delivery, properties, body, None)  # pyright: ignore[reportArgumentType]

    async def _call(self, at_broker: Callable[[], Any], timeout: float) -> Any:
        self._check_open()
        return await self.connection.call(at_broker, timeout)

    @property
    def is_closed(self) -> bool:
        return not self.usable

    @property
    def usable(self) -> bool:
        return self.open and self.connection.alive and not self.connection.process.dead

    def _check_open(self) -> None:
        if not self.usable:
            raise ChannelInvalidStateError("channel closed")

    def _leave(self) -> None:
        consumers = self._broker.queues[self.queue].consumers if self.queue else []
        if self in consumers:
            consumers.remove(self)

    def _taken(self, copy: Copy) -> tuple[int, Copy]:
        self._tags += 1
        self.unacked[self._tags] = copy
        return self._tags, copy

    def _named(self, copy: Copy) -> tuple[str, ContentHeader]:
        headers = dict(copy.headers)
        if copy.count:
            headers["x-delivery-count"] = copy.count
        name = f"{copy.message.n}:{self._broker.deliveries}"
        self._broker.deliveries += 1
        # Of each delivery its own: what is published for it can be told apart.
        sent = Properties(correlation_id=name, reply_to=copy.reply_to, headers=headers, delivery_mode=2)
        # As a connection of memq_amqp hands it to aiormq.
        return name, ContentHeader(properties=Basic.Properties(headers={RAW: bytearray(encode(sent))}))

    def deliver(self, copy: Copy) -> None:
        tag, _ = self._taken(copy)
        name, properties = self._named(copy)
        delivered = DeliveredMessage(
            Basic.Deliver(self._tag, tag, copy.redelivered, copy.exchange, copy.message.key),
            properties,
            copy.message.body,
            self,  # pyright: ignore[reportArgumentType]
        )
        self.connection.send(lambda: self._receive(tag, copy, name, delivered), to_client=True)

    def _receive(self, tag: int, copy: Copy, name: str, message: DeliveredMessage) -> None:
        if self.open and not self.connection.process.dead:
            self._broker.ledger.delivered(self, tag, copy, name)
            _at_once(self._callback(message))

    def ack(self, tag: int, multiple: bool) -> None:
        self._check_open()
        self._broker.ledger.acked(self, tag, multiple)
        self.connection.send(lambda: self._settle(tag, multiple))

    def nack(self, tag: int, multiple: bool, requeue: bool) -> None:
        self._check_open()
        if self.queue != NAMES.tenants:
            self._broker.ledger.nacked(self, tag, multiple, requeue)
        self.connection.send(lambda: self._return(tag, multiple))

    def _settle(self, tag: int, multiple: bool) -> None:
        for settled in [t for t in self.unacked if t == tag or (multiple and t < tag)]:
            del self.unacked[settled]
        self._broker.pump(self._broker.queues[self.queue])

    def _return(self, tag: int, multiple: bool) -> None:
        returned = [t for t in self.unacked if t == tag or (multiple and t < tag)]
        copies = [self.unacked.pop(each) for each in returned]
        self._broker.requeue(copies, counts=self._broker.world.scenario.nack_counts)

    async def basic_publish(
        self, body: bytes, *, exchange: str, routing_key: str, properties: Basic.Properties, mandatory: bool
    ) -> None:
        self._check_open()
        sent = decode(properties.marshal())
        publication = Publication(
            self.connection.process.number,
            exchange,
            routing_key,
            body,
            dict(sent.headers),
            sent.reply_to,
            sent.correlation_id,
        )
        self._broker.ledger.published(publication)
        answer: asyncio.Future[None] = self._broker.world.loop.create_future()
        self._publishes[answer] = None

        def ask() -> None:
            said = self._broker.publish(publication)
            self._broker.world.log("publish", exchange or routing_key, publication.correlation_id, said)
            if said != "unconfirmed":
                self.connection.send(lambda: _confirm(answer, publication, said), to_client=True)

        self.connection.send(ask)
        try:
            await answer
        finally:
            self._publishes.pop(answer, None)

    def kill(self, reason: str) -> None:
        """The broker closes this channel and no other."""
        self.gone()
        self.connection.send(lambda: self._killed(reason), to_client=True)

    def _killed(self, reason: str) -> None:
        self.open = False
        for answer in list(self._publishes):
            answer.cancel()
        for callback in sorted(self.close_callbacks, key=lambda c: c.__qualname__):
            callback(self, ChannelInvalidStateError(reason))

    def cancel_consumer(self) -> None:
        self._leave()
        self.connection.send(self._cancelled, to_client=True)

    def _cancelled(self) -> None:
        for callback in sorted(self.on_consumer_cancel_callbacks, key=lambda c: c.__qualname__):
            _at_once(callback(Basic.Cancel(self._tag)))

    def gone(self) -> None:
        """At the broker: everything unsettled goes back."""
        self._leave()
        copies = list(self.unacked.values())
        self.unacked = {}
        self._broker.requeue(copies, counts=True)
        for answer in list(self._publishes):
            answer.cancel()


async def settle(channel: Channel, settlements: Iterable[Settlement]) -> None:
    """Settle as memq_amqp.wire.deliveries.settle does, without writing bytes."""
    for how, tag, multiple in settlements:
        if how is How.ACK:
            channel.ack(tag, multiple)
        else:
            channel.nack(tag, multiple, how is How.REQUEUE)


def _at_once(coroutine: Any) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a callback of the client library may not wait")


def _confirm(answer: asyncio.Future[None], publication: Publication, said: str) -> None:
    if answer.done():
        return  # too late: the worker does not know
    publication.answer = said
    if said == "confirmed":
        answer.set_result(None)
    elif said == "nacked":
        answer.set_exception(DeliveryError(None, Basic.Nack(1)))
    else:
        returned = Basic.Return(312, "NO_ROUTE", publication.exchange, publication.routing_key)
        message = DeliveredMessage(returned, ContentHeader(properties=Basic.Properties()), b"", None)  # pyright: ignore[reportArgumentType]
        answer.set_exception(PublishError(message, returned))
