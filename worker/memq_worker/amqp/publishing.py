import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection
from memq_amqp import frames_of

from memq_schemas import Topology
from memq_schemas.properties import Properties
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.declare import DeclareMode, declare
from memq_worker.amqp.failure import lost
from memq_worker.amqp.patience import Patience
from memq_worker.amqp.publish import Publisher, publisher
from memq_worker.errors import BrokerUnavailable, ConfigurationError, Unconfirmed, Unroutable

logger = logging.getLogger(__name__)

_FIRST_SECONDS = 0.2
_MOST_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Line:
    connection: AbstractConnection
    publisher: Publisher
    stack: AsyncExitStack
    made: float
    users: int = 0


class Publishing:
    """Confirmed publishing of one session, over a connection of its own that is made anew when it fails.

    A copy that the broker does not take is published again, later and later, until it does or the session ends. To end
    the session instead would have the broker count a failed delivery of everything that the consumers hold.
    """

    def __init__(self, brokers: Brokers, topology: Topology, mode: DeclareMode, timeout_seconds: float) -> None:
        self._brokers = brokers
        self._topology = topology
        self._mode: DeclareMode = mode
        self._timeout_seconds = timeout_seconds
        self._line: _Line | None = None
        self._renewing = asyncio.Lock()
        self._lines: set[_Line] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._failing = 0
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.reason = ""
        self.down: frozenset[str] = frozenset()  # queues whose node was down when they were declared last

    @property
    def connection(self) -> AbstractConnection:
        """The present one. Raises BrokerUnavailable while there is none."""
        if self._line is None:
            raise BrokerUnavailable("there is no connection to publish on")
        return self._line.connection

    def end(self, reason: str) -> None:
        """Whoever waits for a copy to be taken gets BrokerUnavailable, with this reason."""
        if not self.ended.done():
            self.ended.set_result(reason)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Returns once the broker has confirmed.

        Raises BrokerUnavailable once the session has ended; Unroutable and Unconfirmed for the default exchange alone,
        where nobody but the one addressed would miss the message.
        """
        failures = 0
        try:
            while True:
                try:
                    line = self._line or await self._renewed()
                    return await self._on(line, exchange, routing_key, body, properties)
                except (Unroutable, Unconfirmed) as error:
                    if not exchange:
                        raise
                    reason = str(error)
                except BrokerUnavailable as error:
                    reason = str(error)
                self._failed(reason, first=not failures)
                failures += 1
                await self._pause(failures)
        finally:
            if failures:
                self._passed()

    async def _on(self, line: _Line, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        line.users += 1
        try:
            await line.publisher.publish(exchange, routing_key, body, properties)
        except BrokerUnavailable:
            self._retire(line)
            raise
        except Unconfirmed:
            # A channel that was once told that a queue is full may not be told, by RabbitMQ 3.10, that it no longer is.
            if time.monotonic() - line.made > _MOST_SECONDS:
                self._retire(line)
            raise
        except Unroutable:
            if exchange:  # somebody has taken the queue away
                await self._declare(line.connection)
            raise
        finally:
            line.users -= 1
            if not line.users and line is not self._line and line in self._lines:
                self._close(line)

    async def _pause(self, failures: int) -> None:
        seconds = min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** min(failures - 1, 16))
        await asyncio.wait({self.ended}, timeout=seconds * random.uniform(0.5, 1.0))
        if self.ended.done():
            raise BrokerUnavailable(self.ended.result())

    def _failed(self, reason: str, *, first: bool) -> None:
        self._failing += first
        if not self.reason:
            logger.warning("copies are not taken", extra={"reason": reason})
        self.reason = reason

    def _passed(self) -> None:
        self._failing -= 1
        if not self._failing:
            self.reason = ""
            if not self.ended.done():
                logger.info("copies are taken again")

    async def _renewed(self) -> _Line:
        async with self._renewing:
            if self.ended.done():
                raise BrokerUnavailable(self.ended.result())
            if self._line is None:
                try:
                    self._line = await self._opened()
                except ConfigurationError as error:
                    self.end(str(error))
                    raise BrokerUnavailable(str(error)) from error
            return self._line

    async def _opened(self) -> _Line:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._brokers.connect("publish"))
            self.down = await declare(connection, self._topology, self._mode, self._timeout_seconds)
            with lost():
                opened = await connection.channel(publisher_confirms=True, on_return_raises=True)
                channel = await opened.get_underlay_channel()
            patience = Patience(self._timeout_seconds, connection)
            stack.callback(patience.end)
            made = publisher(channel, frames_of(connection), patience)
            line = _Line(connection, made, stack.pop_all(), time.monotonic())
            self._lines.add(line)
            return line

    async def declare(self) -> None:
        """Again. Raises BrokerUnavailable."""
        await self._declare(self.connection)

    async def _declare(self, connection: AbstractConnection) -> None:
        try:
            self.down = await declare(connection, self._topology, self._mode, self._timeout_seconds)
        except ConfigurationError as error:
            self.end(str(error))
            raise BrokerUnavailable(str(error)) from error

    def _retire(self, line: _Line) -> None:
        """Publishes no more on this line. What is under way there is not cut off: it would be published twice."""
        if self._line is line:
            self._line = None

    def _close(self, line: _Line) -> None:
        self._lines.discard(line)
        closing = asyncio.create_task(line.stack.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        self.end("closed")
        async with self._renewing:  # one that is being opened is closed as well
            self._line = None
            for line in list(self._lines):
                self._close(line)
        while self._closing:
            await asyncio.wait(self._closing)

    async def open(self) -> None:
        """Raises ConfigurationError or BrokerUnavailable."""
        self._line = await self._opened()


@asynccontextmanager
async def publishing(
    brokers: Brokers, topology: Topology, mode: DeclareMode, timeout_seconds: float
) -> AsyncGenerator[Publishing]:
    """Connected, with the topology declared or checked. Raises ConfigurationError or BrokerUnavailable."""
    made = Publishing(brokers, topology, mode, timeout_seconds)
    await made.open()
    try:
        yield made
    finally:
        await made.close()
