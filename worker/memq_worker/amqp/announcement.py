import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from memq_amqp import Channel, Connection, Lost, Refused, Returned
from memq_amqp.refusals import Kind

from memq_schemas import headers
from memq_schemas.properties import Properties
from memq_worker.amqp.failure import lost
from memq_worker.errors import BrokerUnavailable, ConfigurationError

_AGAIN_SECONDS = 0.1
_LOCK_SECONDS = 45.0  # a worker that holds the lock and does not answer loses its connection within this time


class Missing(ConfigurationError):
    """The queue does not exist."""


class Unreadable(BrokerUnavailable):
    """The queue's node is down."""


class Announcement:
    """The one message of a queue, read and written under a lock: an exclusive consumer has taken it.

    Without the lock a reader would hold the message for a moment, and a second worker would find the queue empty.
    """

    def __init__(self, connection: Connection, channel: Channel, queue: str, timeout: float) -> None:
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._timeout = timeout
        self._messages: list[tuple[int, bytes]] = []
        self._more = asyncio.Event()

    @property
    def body(self) -> bytes | None:
        """The message; None if the queue is empty."""
        return self._messages[0][1] if self._messages else None

    async def lock(self) -> None:
        await self._channel.consumer(self._take).start(self._queue, exclusive=True, timeout=self._timeout)
        # The broker delivers a waiting message before it answers the next request on the channel.
        await self._channel.declare_queue(self._queue, passive=True, timeout=self._timeout)
        await asyncio.sleep(0)

    def _take(
        self, tag: int, _redelivered: bool, _exchange: str, _key: str, _properties: Properties, body: bytes
    ) -> None:
        self._messages.append((tag, body))
        self._more.set()

    async def put(self, body: bytes) -> None:
        """Replace the message. A message that was there is removed only after the new one is confirmed."""
        before, self._messages = self._messages, []
        self._more.clear()
        properties = Properties(
            content_type=headers.JSON,
            delivery_mode=headers.PERSISTENT,
            app_id=headers.APP_ID,
            priority=headers.PRIORITY,
        )
        async with asyncio.timeout(self._timeout):
            publishing = await self._connection.channel()
            try:
                await publishing.publisher().publish("", self._queue, body, properties)
            except (Refused, Returned) as error:
                raise BrokerUnavailable(f"queue {self._queue!r} did not accept the store's identity") from error
            finally:
                await publishing.close()
            await self._more.wait()
        await self._acknowledge(before)

    async def remove(self) -> None:
        before, self._messages = self._messages, []
        await self._acknowledge(before)

    async def _acknowledge(self, messages: list[tuple[int, bytes]]) -> None:
        for tag, _ in messages:
            await self._channel.ack(tag)

    async def unlock(self) -> None:
        """Drop the messages behind the first, which an interrupted worker has left. Closing gives the first back."""
        await self._acknowledge(self._messages[1:])


@asynccontextmanager
async def announcement(connection: Connection, queue: str, timeout: float) -> AsyncGenerator[Announcement]:
    """The announcement in `queue`, locked until the end of the block.

    Raises ConfigurationError if the queue is missing or may not be read, Unreadable if its node is down, and
    BrokerUnavailable. `timeout` is in seconds, for each request.
    """
    with lost():
        channel, held = await _locked(connection, queue, timeout)
        try:
            yield held
            await held.unlock()
        except Lost as error:
            if error.kind is not Kind.PERMISSION:
                raise
            raise ConfigurationError(
                f"no permission to announce the store in queue {queue!r}: grant write on 'amq.default', "
                "or let a deploy user run memq-worker store adopt"
            ) from error
        finally:
            async with asyncio.timeout(timeout):
                await channel.close()


async def _locked(connection: Connection, queue: str, timeout: float) -> tuple[Channel, Announcement]:
    ends = time.monotonic() + _LOCK_SECONDS
    while True:
        # A channel of its own each time: the broker closes it with the refusal.
        channel = await connection.channel()
        held = Announcement(connection, channel, queue, timeout)
        try:
            await held.lock()
        except Lost as error:
            match error.kind:
                case Kind.PERMISSION:
                    raise ConfigurationError(
                        f"no permission to read queue {queue!r}: grant the worker's user read on it"
                    ) from error
                case Kind.LOCKED if time.monotonic() > ends:
                    raise BrokerUnavailable(f"queue {queue!r} is locked by another worker") from error
                case Kind.LOCKED:
                    pass
                case Kind.QUEUE_DOWN:
                    raise Unreadable(f"the node of queue {queue!r} is down") from error
                case Kind.NOT_FOUND:
                    raise Missing(f"queue {queue!r} is missing: run memq-worker declare") from error
                case _:
                    raise
        else:
            return channel, held
        await asyncio.sleep(random.uniform(0.5, 1.5) * _AGAIN_SECONDS)
