import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from memq_amqp import Connection, Lost, MessageRefused, SizeLimit
from memq_amqp.refusals import Refusal

from memq_schemas.properties import Properties
from memq_worker.amqp.confirm_timeout import ConfirmTimeout
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.failure import lost
from memq_worker.amqp.publish import TimedPublisher
from memq_worker.errors import BrokerUnavailable, Unconfirmed

Prepare = Callable[[Connection], Awaitable[None]]

_PROVEN_BYTES = 4096
_OLD_SECONDS = 5.0
# Reply codes with which the broker closes the channel alone; all others close the connection.
_CHANNEL_CODES = (311, 313, 403, 404, 405, 406)


def refusal_behind(error: BrokerUnavailable) -> Refusal | None:
    """Return what the broker said when it closed the channel of a publish; None where it said nothing."""
    return error.__cause__.refusal if isinstance(error.__cause__, Lost) else None


@dataclass(slots=True, eq=False)
class _Line:
    connection: Connection
    confirm_timeout: ConfirmTimeout
    shared: TimedPublisher
    stack: AsyncExitStack
    made: float
    single: TimedPublisher | None = None
    users: int = 0


class PublishConnection:
    """A connection to publish on, opened when it is needed and replaced when it is lost.

    The broker closes a channel on which it refuses a message, and leaves the confirms of all others on it in doubt. So
    the first message to an exchange, and one larger than all before, goes alone on a second channel.
    """

    def __init__(self, brokers: Brokers, purpose: str, timeout_seconds: float, prepare: Prepare | None = None) -> None:
        """prepare: called with each new connection before it is used."""
        self._brokers = brokers
        self._purpose = purpose
        self._timeout_seconds = timeout_seconds
        self._prepare = prepare
        self._line: _Line | None = None
        self._lines: set[_Line] = set()
        self._renewing = asyncio.Lock()
        self._single = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._proven: set[str] = set()
        self._proven_bytes = _PROVEN_BYTES
        self._limit = SizeLimit()

    @property
    def connection(self) -> Connection:
        """The present one. Raises BrokerUnavailable while there is none."""
        if self._line is None:
            raise BrokerUnavailable("no connection to publish on")
        return self._line.connection

    async def open(self) -> None:
        """Raises ConfigurationError or BrokerUnavailable."""
        await self._present()

    async def publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Properties, *, alone: bool = False
    ) -> None:
        """Return once the broker has confirmed. alone: on the second channel in any case.

        Raises Unroutable, Unconfirmed, ConfigurationError, ValueError for a message that the broker never takes, and
        BrokerUnavailable; `refusal_behind` tells why.
        """
        if self._limit.bytes is not None:
            self._limit.check(len(body))
        if alone or not self._proves(exchange, body):
            async with self._single:
                self._limit.check(len(body))
                if alone or not self._proves(exchange, body):
                    await self._used(True, exchange, routing_key, body, properties)
                    self._proven.add(exchange)
                    self._proven_bytes = max(self._proven_bytes, len(body))
                    return
        await self._used(False, exchange, routing_key, body, properties)

    def proven(self, exchange: str) -> bool:
        """Return True if the broker has taken a message to this exchange since it last refused one."""
        return exchange in self._proven

    def _proves(self, exchange: str, body: bytes) -> bool:
        """Return True if the broker has taken a message to this exchange, and one as large, since it last refused."""
        return exchange in self._proven and len(body) <= self._proven_bytes

    async def _used(self, single: bool, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        line = await self._present()
        line.users += 1
        try:
            publishing = await self._single_of(line) if single else line.shared
            await publishing.publish(exchange, routing_key, body, properties)
        except BrokerUnavailable as error:
            self._failed(line, single, refusal_behind(error))
            raise
        except ValueError as error:
            if isinstance(error, MessageRefused):
                self._limit.note(error.refusal)
            if single:
                line.single = None  # closed, if it was the broker that refused the message
            raise
        except Unconfirmed:
            # A channel that was once told that a queue is full may not be told, by RabbitMQ 3.10, that it no longer is.
            if exchange and time.monotonic() - line.made > _OLD_SECONDS:
                self._retire(line)
            raise
        finally:
            line.users -= 1
            if not line.users and line is not self._line and line in self._lines:
                self._close(line)

    def _failed(self, line: _Line, single: bool, refusal: Refusal | None) -> None:
        self._proven.clear()
        self._proven_bytes = _PROVEN_BYTES
        if single and refusal is not None and refusal.code in _CHANNEL_CODES:
            line.single = None
        else:
            self._retire(line)

    async def _present(self) -> _Line:
        if self._line is not None:
            return self._line
        async with self._renewing:
            if self._closed:
                raise BrokerUnavailable("closed")
            if self._line is None:
                self._line = await self._opened()
            return self._line

    async def _opened(self) -> _Line:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._brokers.connect(self._purpose))
            if self._prepare is not None:
                await self._prepare(connection)
            confirm_timeout = ConfirmTimeout(self._timeout_seconds, connection)
            stack.callback(confirm_timeout.end)
            shared = await _publisher(connection, confirm_timeout)
            self._limit = SizeLimit()  # a broker that was started again may have another
            line = _Line(connection, confirm_timeout, shared, stack.pop_all(), time.monotonic())
            self._lines.add(line)
            return line

    async def _single_of(self, line: _Line) -> TimedPublisher:
        if line.single is None:
            line.single = await _publisher(line.connection, line.confirm_timeout)
        return line.single

    def _retire(self, line: _Line) -> None:
        """Publish no more on this line. What is under way there is not cut off: it would be published twice."""
        if self._line is line:
            self._line = None

    def _close(self, line: _Line) -> None:
        self._lines.discard(line)
        closing = asyncio.create_task(line.stack.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        self._closed = True
        async with self._renewing:  # one that is being opened is closed as well
            self._line = None
            for line in list(self._lines):
                self._close(line)
        while self._closing:
            await asyncio.wait(self._closing)


async def _publisher(connection: Connection, confirm_timeout: ConfirmTimeout) -> TimedPublisher:
    with lost():
        return TimedPublisher((await connection.channel()).publisher(), confirm_timeout)
