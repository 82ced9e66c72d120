"""Depth and consumers of memq's queues, as the broker tells anybody who may connect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq_amqp import Brokers, Lost, NoConnection
from memq_amqp.refusals import Kind

from memq_schemas import topology

if TYPE_CHECKING:
    from memq_amqp import Connection

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
        self._connection: Connection | None = None

    @property
    def roles(self) -> list[str]:
        """Roles of all of memq's queues: write, query, retry.1 and so on."""
        return list(self._queues)

    async def depths(self) -> dict[str, Depth]:
        """Depths by role, without queues that do not exist. Raises Unreachable."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                connection = await self._connected()
                queues = self._queues.items()
                return {role: depth for role, name in queues if (depth := await _depth(connection, name))}
        except NoConnection as error:
            raise Unreachable(f"RabbitMQ at {error}") from None
        except TimeoutError:
            await self.close()
            raise Unreachable(f"RabbitMQ at {self._brokers}: no answer within {READ_SECONDS:g} s") from None
        except Lost as error:
            await self.close()
            raise Unreachable(f"RabbitMQ at {self._brokers}: {error}") from None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(READ_SECONDS)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._brokers.connect()
        return self._connection


async def _depth(connection: Connection, name: str) -> Depth | None:
    # A channel for each: asking for a queue that does not exist closes it.
    channel = await connection.channel(confirms=False)
    try:
        declared = await channel.declare_queue(name, passive=True)
    except Lost as error:
        if error.kind in (Kind.NOT_FOUND, Kind.QUEUE_DOWN):
            return None
        raise
    finally:
        await channel.close()
    return Depth(declared.messages, declared.consumers)
