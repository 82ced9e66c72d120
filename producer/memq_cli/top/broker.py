"""Depth and consumers of memq's queues, as the broker tells anybody who may connect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiormq.exceptions
from memq_amqp import Brokers, Lost, NoConnection, cancellable
from memq_amqp.refusals import refusal_of

from memq.connection.publisher import GONE
from memq.connection.session import close_quietly
from memq_schemas import topology

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue

READ_SECONDS = 5.0


class Unreachable(Exception):
    """The text says why, without the password."""


@dataclass(frozen=True, slots=True)
class Depth:
    ready: int
    consumers: int


class Broker:
    """Keeps a connection from one reading to the next, and opens another when it is lost."""

    def __init__(self, brokers: Brokers, prefix: str) -> None:
        self._brokers = brokers
        self._queues = {queue.name.removeprefix(f"{prefix}."): queue.name for queue in topology(prefix).queues}
        self._connection: AbstractConnection | None = None

    @property
    def roles(self) -> list[str]:
        """Roles of all of memq's queues: write, query, retry.1 and so on."""
        return list(self._queues)

    async def depths(self) -> dict[str, Depth]:
        """Depths by role, without queues that do not exist. Raises Unreachable."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                with cancellable():
                    connection = await self._connected()
                    queues = self._queues.items()
                    return {role: depth for role, name in queues if (depth := await _depth(connection, name))}
        except NoConnection as error:
            raise Unreachable(f"RabbitMQ at {error}") from None
        except TimeoutError:
            await self.close()
            raise Unreachable(f"RabbitMQ at {self._brokers}: no answer within {READ_SECONDS:g} s") from None
        except (*GONE, Lost) as error:
            await self.close()
            raise Unreachable(
                f"RabbitMQ at {self._brokers}: {refusal_of(error) or 'the connection was lost'}"
            ) from None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await close_quietly(connection)

    async def _connected(self) -> AbstractConnection:
        if self._connection is None or self._connection.is_closed:
            _, self._connection = await self._brokers.connect()
        return self._connection


async def _depth(connection: AbstractConnection, name: str) -> Depth | None:
    # A channel for each: asking for a queue that does not exist closes it.
    channel: AbstractChannel = connection.channel(publisher_confirms=False)
    async with channel:
        try:
            queue: AbstractQueue = await channel.declare_queue(name, passive=True)
        except aiormq.exceptions.ChannelNotFoundEntity:
            return None
        declared = queue.declaration_result
        return Depth(declared.message_count or 0, declared.consumer_count or 0)
