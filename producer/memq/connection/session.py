"""One connection to the broker, from handshake to loss."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from memq_amqp import Lost, NoConnection
from memq_amqp.refusals import Fault, Kind

from memq.connection.address import CONNECT_SECONDS
from memq.connection.bulk import BulkLane
from memq.connection.exchange import writable_exchange
from memq.connection.publisher import ConfirmClock, Publisher
from memq.connection.reply_queue import ReplyQueue
from memq.errors import ConfigurationError, TopologyMissing
from memq_schemas import Names
from memq_schemas.tenants import TenantNames

if TYPE_CHECKING:
    from memq_amqp import Address, Brokers, Channel, Connection

    from memq.connection.replies import Pending

CLOSE_SECONDS = 5.0


class Session:
    def __init__(
        self, connection: Connection, publisher: Publisher, names: Names | TenantNames, pending: Pending
    ) -> None:
        self.address = connection.address
        self.publisher = publisher
        self.bulk = BulkLane(connection, names.bulk)
        self._others: dict[str, BulkLane] = {}
        self.replies = ReplyQueue(connection, names, pending, self.lose)
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Apart, because a queue may be stuck while others on the same channel go on.
        self.writes, self.requests = ConfirmClock(), ConfirmClock()
        self._connection = connection

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
            self.publisher.close(reason)
            for lane in (self.bulk, *self._others.values()):
                lane.close(reason)
            self.replies.end()

    def other(self, exchange: str) -> BulkLane:
        """The way to an exchange that is not the producer's own."""
        if (found := self._others.get(exchange)) is None:
            found = self._others[exchange] = BulkLane(self._connection, exchange)
        return found

    async def blocked(self) -> bool:
        """Return True while the broker blocks publishing because of a memory or disk alarm."""
        with contextlib.suppress(Lost):
            return await self._connection.blocked()
        return False

    async def close(self) -> None:
        self.lose("closed")
        await self._connection.close(CLOSE_SECONDS)


async def connect(brokers: Brokers) -> Connection:
    """Connect to the next broker. Raises Lost when another try may work, ConfigurationError when none will."""
    try:
        return await brokers.connect()
    except NoConnection as error:
        if error.settings:
            raise ConfigurationError(f"RabbitMQ at {error}") from error
        raise Lost(str(error), error.refusal) from error


async def open_session(brokers: Brokers, names: Names | TenantNames, pending: Pending) -> Session:
    """Raises Lost when another try may work, ConfigurationError when none will."""
    connection = await connect(brokers)
    try:
        async with contextlib.AsyncExitStack() as stack, asyncio.timeout(CONNECT_SECONDS):
            stack.push_async_callback(connection.close, CLOSE_SECONDS)
            session = await _opened(connection, names, pending)
            stack.pop_all()
            return session
    except TimeoutError as error:
        raise Lost(f"no answer from {connection.address} within {CONNECT_SECONDS:g} s") from error
    except Lost as error:
        if error.refusal is not None and error.refusal.fault is Fault.SETTINGS:
            raise ConfigurationError(f"RabbitMQ at {connection.address}: {error}") from error
        raise Lost(f"{connection.address}: {error}", error.refusal) from error


async def _opened(connection: Connection, names: Names | TenantNames, pending: Pending) -> Session:
    exchange = await writable_exchange(connection, names) if isinstance(names, TenantNames) else names.commands
    publishing = await connection.channel()
    if isinstance(names, Names):
        await _check(publishing, exchange, connection.address)
    session = Session(connection, Publisher(publishing.publisher(), exchange), names, pending)
    for closable in (connection, publishing):
        closable.on_close(lambda error: session.lose(str(error)))
    return session


async def _check(channel: Channel, exchange: str, address: Address) -> None:
    try:
        await channel.declare_exchange(exchange, passive=True)
    except Lost as error:
        if error.kind is Kind.NOT_FOUND:
            raise TopologyMissing(
                f"RabbitMQ at {address} has no exchange {exchange}: "
                "run `memq-worker declare`, or start a worker, and check the prefix"
            ) from error
        if error.kind is Kind.PERMISSION:
            raise ConfigurationError(f"RabbitMQ at {address} denies the user a right: {error}") from error
        raise
