import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import AbstractChannel as Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity
from pamqp.commands import Basic

from memq_schemas import headers
from memq_worker.amqp.failure import lost
from memq_worker.errors import BrokerUnavailable, ConfigurationError

Connection = AbstractConnection

_AGAIN_SECONDS = 0.1
_LOCK_SECONDS = 45.0  # a worker that holds the lock and does not answer loses its connection within this time
_IN_USE = "in exclusive use"
_DOWN = "is down or inaccessible"


class Missing(ConfigurationError):
    """The queue does not exist."""


class Unreadable(BrokerUnavailable):
    """The queue's node is down."""


class Announcement:
    """The one message of a queue, read and written under a lock: an exclusive consumer has taken it.

    Without the lock a reader would hold the message for a moment, and a second worker would find the queue empty.
    """

    def __init__(self, channel: Channel, queue: str, timeout: float) -> None:
        self._channel = channel
        self._queue = queue
        self._timeout = timeout
        self._taken: list[tuple[int, bytes]] = []
        self._more = asyncio.Event()

    @property
    def body(self) -> bytes | None:
        """The message; None if the queue is empty."""
        return self._taken[0][1] if self._taken else None

    async def lock(self) -> None:
        await self._channel.basic_consume(self._queue, self._take, exclusive=True, timeout=self._timeout)
        # The broker delivers a waiting message before it answers the next request on the channel.
        await self._channel.queue_declare(self._queue, passive=True, timeout=self._timeout)
        await asyncio.sleep(0)

    async def _take(self, message: DeliveredMessage) -> None:
        if isinstance(message.delivery, Basic.Deliver):
            self._taken.append((message.delivery.delivery_tag or 0, bytes(message.body)))
            self._more.set()

    async def put(self, body: bytes) -> None:
        """Replace the message. A message that was there is removed only after the new one is confirmed."""
        before, self._taken = self._taken, []
        self._more.clear()
        properties = Basic.Properties(
            content_type=headers.JSON,
            delivery_mode=headers.PERSISTENT,
            app_id=headers.APP_ID,
            priority=headers.PRIORITY,
        )
        confirmed = await self._channel.basic_publish(
            body, routing_key=self._queue, properties=properties, mandatory=True, timeout=self._timeout
        )
        if not isinstance(confirmed, Basic.Ack):
            raise BrokerUnavailable(f"queue {self._queue!r} did not accept the store's identity")
        async with asyncio.timeout(self._timeout):
            await self._more.wait()
        for tag, _ in before:
            await self._channel.basic_ack(tag)

    async def remove(self) -> None:
        before, self._taken = self._taken, []
        for tag, _ in before:
            await self._channel.basic_ack(tag)

    async def unlock(self) -> None:
        """Drop the messages behind the first, which an interrupted worker has left. Closing gives the first back."""
        for tag, _ in self._taken[1:]:
            await self._channel.basic_ack(tag)


@asynccontextmanager
async def announcement(connection: AbstractConnection, queue: str, timeout: float) -> AsyncGenerator[Announcement]:
    """The announcement in `queue`, locked until the end of the block.

    Raises ConfigurationError if the queue is missing or may not be read, Unreadable if its node is down, and
    BrokerUnavailable. `timeout` is in seconds, for each request.
    """
    with lost():
        channel, held = await _locked(connection, queue, timeout)
        try:
            yield held
            await held.unlock()
        except ChannelAccessRefused as error:
            raise ConfigurationError(
                f"no permission to announce the store in queue {queue!r}: grant write on 'amq.default', "
                "or let a deploy user run memq-worker store adopt"
            ) from error
        finally:
            async with asyncio.timeout(timeout):
                await channel.close()


async def _locked(connection: AbstractConnection, queue: str, timeout: float) -> tuple[AbstractChannel, Announcement]:
    ends = time.monotonic() + _LOCK_SECONDS
    while True:
        # A channel of its own each time: the broker closes it with the refusal.
        opened = await connection.channel(publisher_confirms=True, on_return_raises=True)
        held = Announcement(await opened.get_underlay_channel(), queue, timeout)
        try:
            await held.lock()
        except ChannelAccessRefused as error:
            if _IN_USE not in str(error):
                raise ConfigurationError(
                    f"no permission to read queue {queue!r}: grant the worker's user read on it"
                ) from error
            if time.monotonic() > ends:
                raise BrokerUnavailable(f"queue {queue!r} is locked by another worker") from error
        except ChannelNotFoundEntity as error:
            if _DOWN in str(error):
                raise Unreadable(f"the node of queue {queue!r} is down") from error
            raise Missing(f"queue {queue!r} is missing: run memq-worker declare") from error
        else:
            return opened, held
        await asyncio.sleep(random.uniform(0.5, 1.5) * _AGAIN_SECONDS)
