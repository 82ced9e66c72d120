import asyncio
from dataclasses import dataclass

from memq_amqp import Channel, Connection, How, Lost, Settlement
from memq_amqp.refusals import Kind

from memq_worker.amqp.exchanges import Exchanges
from memq_worker.amqp.failure import lost
from memq_worker.amqp.publishing import Publishing


class Unseen(Exception):
    """The broker does not show this queue. missing: it does not exist; else its node is down, or it may not be read."""

    def __init__(self, queue: str, *, missing: bool) -> None:
        super().__init__(queue)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Depth:
    messages: int  # ready
    consumers: int


@dataclass(frozen=True, slots=True)
class Head:
    """published: epoch seconds; None without a message or timestamp.   looks: deliveries before this one."""

    published: float | None
    looks: int


class Watch:
    """Looks at queues, on a channel of its own: the broker closes it for a queue that is not there, and only it."""

    def __init__(self, connection: Connection, publishing: Publishing, timeout_seconds: float) -> None:
        self._connection = connection
        self._publishing = publishing
        self._timeout_seconds = timeout_seconds
        self._channel: Channel | None = None
        self.exchanges = Exchanges(publishing, timeout_seconds)

    async def depth(self, queue: str) -> Depth:
        """Raises Unseen or BrokerUnavailable."""
        with lost():
            try:
                channel = await self._opened()
                declared = await channel.declare_queue(queue, passive=True, timeout=self._timeout_seconds)
            except Lost as error:
                raise _unseen(error, queue) from error
        return Depth(declared.messages, declared.consumers)

    async def head(self, queue: str) -> Head:
        """The message at the head of a queue.

        The message goes back to its place, which the broker counts as a delivery. Raises Unseen or BrokerUnavailable.
        """
        with lost():
            try:
                channel = await self._opened()
                head = await channel.get(queue, self._timeout_seconds)
                if head is None:
                    return Head(None, 0)
                await channel.settle([Settlement(How.REQUEUE, head.tag, multiple=False)])
            except Lost as error:
                raise _unseen(error, queue) from error
        looks = head.properties.headers.get("x-delivery-count")
        return Head(head.properties.published, looks if isinstance(looks, int) else 0)

    async def body(self, queue: str) -> bytes | None:
        """Body of the message at the head of a queue, which goes back to its place; None if the queue is empty.

        Raises Unseen or BrokerUnavailable.
        """
        with lost():
            try:
                channel = await self._opened()
                head = await channel.get(queue, self._timeout_seconds)
                if head is None:
                    return None
                await channel.settle([Settlement(How.REQUEUE, head.tag, multiple=False)])
            except Lost as error:
                raise _unseen(error, queue) from error
        return head.body

    async def _opened(self) -> Channel:
        if self._channel is None or self._channel.closed:
            async with asyncio.timeout(self._timeout_seconds):
                self._channel = await self._connection.channel(confirms=False)
        return self._channel

    async def blocked(self) -> bool:
        """Return True between connection.blocked and connection.unblocked. Raises BrokerUnavailable."""
        with lost():
            return await self._publishing.connection.blocked()

    async def unblocked(self) -> None:
        """Return once it is not blocked. Raises BrokerUnavailable."""
        with lost():
            await self._publishing.connection.unblocked()


def _unseen(error: Lost, queue: str) -> Exception:
    """Unseen for a queue that the broker does not show; `error` itself for a lost connection."""
    if error.kind in (Kind.NOT_FOUND, Kind.QUEUE_DOWN, Kind.PERMISSION):
        return Unseen(queue, missing=error.kind is Kind.NOT_FOUND)
    return error
