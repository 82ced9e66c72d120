"""One connection to the broker, from handshake to loss."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiormq.exceptions
import memq_amqp
from memq_amqp import Lost, NoConnection, cancellable
from memq_amqp.refusals import Fault, refusal_of

from memq.connection.address import CONNECT_SECONDS
from memq.connection.bulk import BulkLane
from memq.connection.entrance import entrance
from memq.connection.publisher import GONE, publisher
from memq.connection.reply_queue import ReplyQueue
from memq.connection.silence import Silence
from memq.errors import ConfigurationError, TopologyMissing
from memq_schemas import Names
from memq_schemas.tenants import TenantNames

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection
    from memq_amqp import Brokers

    from memq.connection.address import Address
    from memq.connection.publisher import Publisher
    from memq.connection.replies import Pending

CLOSE_SECONDS = 5.0


class Session:
    def __init__(
        self,
        address: Address,
        connection: AbstractConnection,
        publisher: Publisher,
        names: Names | TenantNames,
        pending: Pending,
    ) -> None:
        self.address = address
        self.publisher = publisher
        self.bulk = BulkLane(connection, names.bulk, memq_amqp.frames_of(connection))
        self._others: dict[str, BulkLane] = {}
        self.replies = ReplyQueue(address, connection, names, pending, self.lose)
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Apart, because a queue may be stuck while others on the same channel go on.
        self.writes, self.requests = Silence(), Silence()
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
            found = self._others[exchange] = BulkLane(self._connection, exchange, memq_amqp.frames_of(self._connection))
        return found

    def closed(self, _sender: Any = None, error: BaseException | None = None) -> None:
        self.lose(str(error) if error and str(error) else "connection closed")

    async def blocked(self) -> bool:
        """Return True while the broker blocks publishing because of a memory or disk alarm."""
        transport = self._connection.transport
        try:
            # Returns without waiting unless it is so.
            async with asyncio.timeout(0):
                if transport is not None:
                    await transport.ready()
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        self.lose("closed")
        await close_quietly(self._connection)


async def close_quietly(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            with cancellable():
                await connection.close()
    except (*GONE, Lost, TimeoutError):
        return


async def connect(brokers: Brokers) -> tuple[Address, AbstractConnection]:
    """Connect to the next broker. Raises Lost when another try may work, ConfigurationError when none will."""
    try:
        return await brokers.connect()
    except NoConnection as error:
        if error.settings:
            raise ConfigurationError(f"RabbitMQ at {error}") from error
        raise Lost(str(error), error.refusal) from error


async def open_session(brokers: Brokers, names: Names | TenantNames, pending: Pending) -> Session:
    """Raises Lost when another try may work, ConfigurationError when none will."""
    address, connection = await connect(brokers)
    try:
        async with contextlib.AsyncExitStack() as stack, asyncio.timeout(CONNECT_SECONDS):
            stack.push_async_callback(close_quietly, connection)
            with cancellable():
                session = await _opened(address, connection, names, pending)
            stack.pop_all()
            return session
    except TimeoutError as error:
        raise Lost(f"no answer from {address} within {CONNECT_SECONDS:g} s") from error
    except GONE as error:
        refusal = refusal_of(error)
        if refusal is not None and refusal.fault is Fault.SETTINGS:
            raise ConfigurationError(f"RabbitMQ at {address}: {refusal}") from error
        raise Lost(f"{address}: {refusal or error}") from error
    except Lost as error:
        raise Lost(f"{address}: the connection was lost while opening") from error


async def _opened(
    address: Address, connection: AbstractConnection, names: Names | TenantNames, pending: Pending
) -> Session:
    exchange = await entrance(connection, names, address) if isinstance(names, TenantNames) else names.commands
    publishing = await connection.channel(on_return_raises=True)
    if isinstance(names, Names):
        await _check(publishing, exchange, address)
    frames = memq_amqp.frames_of(connection)
    session = Session(address, connection, await publisher(publishing, exchange, frames), names, pending)
    for closable in (connection, publishing):
        closable.close_callbacks.add(session.closed)
    return session


async def _check(channel: AbstractChannel, exchange: str, address: Address) -> None:
    try:
        await channel.declare_exchange(exchange, passive=True)
    except aiormq.exceptions.ChannelNotFoundEntity as error:
        raise TopologyMissing(
            f"RabbitMQ at {address} has no exchange {exchange}: "
            "run `memq-worker declare`, or start a worker, and check the prefix"
        ) from error
    except aiormq.exceptions.ChannelAccessRefused as error:
        raise ConfigurationError(f"RabbitMQ at {address} denies the user a right: {error}") from error
