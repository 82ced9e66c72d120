"""One pass over the dead-letter queue, from its front to the depth it had at the start.

Everything delivered stays unacknowledged until it is removed or the walk ends; then the broker puts it back where it
was. The walk goes block by block, each by a consumer of its own that is cancelled when its block is complete:
AMQP has no other way to stop a flow without handing something back, and unbounded prefetch would be unbounded memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from memq_amqp import Brokers, Lost, NoConnection, Received
from memq_amqp.refusals import Kind
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from memq.connection.address import CONNECT_SECONDS
from memq.connection.session import CLOSE_SECONDS
from memq.errors import BrokerUnavailable, ConfigurationError, TopologyMissing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from memq_amqp import Channel, Connection

    from memq.connection.address import Address
    from memq_schemas.properties import Properties

FIRST_BLOCK = 20
BLOCK_LIMIT = 10_000
BLOCK_BYTES = 16 * 1024 * 1024
GROWTH = 8
QUIET_SECONDS = 1.0
PACE = 16
SETTLE_SECONDS = 5.0
LOOK_SECONDS = 0.05


class Walk:
    """depth: letters ready when it began.   seen: those delivered so far.

    before_4: the broker is older than RabbitMQ 4.0.
    """

    before_4 = False

    def __init__(self, channel: Channel, control: Channel, queue: str, depth: int) -> None:
        self.depth = depth
        self.seen = 0
        self._channel = channel
        self._control = control
        self._queue = queue
        self._bytes = 0
        self._blocks = 0
        self._removed = 0
        self._tag: str | None = None
        self._inbox: asyncio.Queue[Received | None] = asyncio.Queue()
        self._consumer = channel.consumer(self._arrived)

    async def blocks(self) -> AsyncIterator[AsyncIterator[Received]]:
        """Each has to be read to its end before the next one. Raises Lost."""
        size = FIRST_BLOCK
        while self.seen < self.depth:
            before = self.seen
            yield self._block(min(size, self.depth - before))
            if self.seen == before:
                return
            mean = max(self._bytes // self.seen, 1)
            size = max(1, min(size * GROWTH, BLOCK_BYTES // mean, BLOCK_LIMIT))

    async def remove(self, tag: int) -> None:
        """Remove the letter. Its block has to be complete or stopped, because RabbitMQ would fill the free place."""
        await self._channel.ack(tag)
        self._removed += 1
        if self._removed % PACE == 0:
            await self._ready()

    def lost(self, *_: Lost) -> None:
        self._inbox.put_nowait(None)

    async def put_back(self) -> None:
        """All that is left, in order; where this does not get through, the end of the channel does the same."""
        await self.stop()
        await self._channel.requeue_all()
        await self._settled()

    async def _settled(self) -> None:
        """Wait until what was put back is ready, for a few seconds: others may take letters at the same time.

        A quorum queue's client in RabbitMQ keeps acknowledgements beyond 32 until earlier ones are applied, and forgets
        them if the channel closes. It sends them before what is put back.
        """
        left = self.depth - self._removed
        attempts = AsyncRetrying(
            retry=retry_if_result(lambda ready: ready < left),
            wait=wait_fixed(LOOK_SECONDS),
            stop=stop_after_delay(SETTLE_SECONDS),
            retry_error_callback=lambda _: None,
        )
        await attempts(self._ready)

    async def stop(self) -> None:
        """No more of this block."""
        tag, self._tag = self._tag, None
        if tag is not None:
            await self._channel.cancel(tag)

    async def _block(self, size: int) -> AsyncIterator[Received]:
        self._blocks += 1
        await self._channel.qos(size)
        # The broker gives requeued messages out by consumer tag, so tags sort as blocks do.
        tag = f"memq-dead-{self._blocks:09}"
        await self._consumer.start(self._queue, tag)
        self._tag = tag
        for _ in range(size):
            message = await self._next()
            if message is None:
                break
            self.seen += 1
            self._bytes += len(message.body)
            yield message
        await self.stop()

    async def _next(self) -> Received | None:
        """None when others have taken what was there."""
        quiet = 0
        while True:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    message = await self._inbox.get()
            except TimeoutError:
                # What was on its way to us when the queue was counted has had one more wait to arrive.
                quiet = quiet + 1 if await self._ready() == 0 else 0
                if quiet > 1 and self._inbox.empty():
                    return None
                continue
            if message is None:
                raise Lost("the connection was lost, or the queue is gone")
            return message

    async def _ready(self) -> int:
        return (await self._control.declare_queue(self._queue, passive=True)).messages

    def _arrived(
        self, tag: int, redelivered: bool, exchange: str, key: str, properties: Properties, body: bytes
    ) -> None:
        self._inbox.put_nowait(Received(tag, redelivered, exchange, key, properties, body))


@contextlib.asynccontextmanager
async def walk(address: Address, queue: str, client: str) -> AsyncGenerator[Walk]:
    """Open a walk on a connection of its own. Raises TopologyMissing, ConfigurationError and BrokerUnavailable."""
    try:
        connection = await Brokers([address], name=client, timeout=CONNECT_SECONDS).connect()
    except NoConnection as error:
        raise BrokerUnavailable(f"no connection to RabbitMQ at {error}") from error
    try:
        started = await _start(connection, queue)
        yield started
        await started.put_back()
    except Lost as error:
        raise BrokerUnavailable(f"the connection to RabbitMQ was lost while reading {queue}: {error}") from error
    finally:
        await connection.close(CLOSE_SECONDS)


async def _start(connection: Connection, queue: str) -> Walk:
    try:
        control = await connection.channel()
        declared = await control.declare_queue(queue, passive=True)
        channel = await connection.channel()
    except Lost as error:
        if error.kind is Kind.NOT_FOUND:
            remedy = "run `memq-worker declare`, or start a worker, and check the prefix"
            raise TopologyMissing(f"RabbitMQ at {connection.address} has no queue {queue}: {remedy}") from error
        if error.kind is Kind.PERMISSION:
            raise ConfigurationError(f"RabbitMQ at {connection.address} denies the user a right: {error}") from error
        raise
    started = Walk(channel, control, queue, declared.messages)
    started.before_4 = _before_4(connection.version)
    for closable in (connection, channel, control):
        closable.on_close(started.lost)
    channel.on_cancel(started.lost)
    return started


def _before_4(version: str) -> bool:
    major = version.partition(".")[0]
    return not major.isdigit() or int(major) < 4
