"""Replay of dead letters: the broker confirms each copy before the letter leaves the dead-letter queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from memq_amqp import stopped

from memq.connection.publisher import Message
from memq.errors import Unroutable
from memq_schemas import headers
from memq_schemas.properties import ChangedHeaders
from memq_schemas.tenants import TenantNames
from memq_schemas.topology import BULK, LIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq_amqp import Received

    from memq.dead.walk import Walk
    from memq.deliver.sender import Sender
    from memq_schemas.tenants import Whose

IN_FLIGHT = 256


class Replay:
    """Whenever it is interrupted, a letter is in the dead-letter queue, or on its way to a worker, or both."""

    def __init__(self, walk: Walk, sender: Sender, whose: Whose, timeout: float, body: bytes | None = None) -> None:
        self._walk = walk
        self._whose = whose
        self._sender = sender
        self._timeout = timeout
        self._body = body

    async def run(
        self,
        messages: list[Received],
        sent: Callable[[], None],
        unroutable: Callable[[Unroutable], None],
    ) -> None:
        """Publish in order the letters that the broker accepts at the first attempt. Unroutable letters stay.

        Raises Unconfirmed, and Lost; those that were on their way by then are waited for, no more are sent.
        """
        await self._walk.stop()
        room = asyncio.Semaphore(IN_FLIGHT)
        failures: list[BaseException] = []

        async def one(message: Received) -> None:
            async with room:
                if failures:
                    return
                key = message.routing_key
                try:
                    lane, exchange = self._path(message)
                    await self._sender.deliver(key, self._copy(message), self._timeout, lane, exchange)
                    await self._walk.remove(message.tag)
                except Unroutable as error:
                    unroutable(error)
                except Exception as error:  # noqa: BLE001 it is raised below, when the others have ended
                    failures.append(error)
                else:
                    sent()

        tasks = [asyncio.create_task(one(message)) for message in messages]
        try:
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await stopped(*tasks)
            raise
        if failures:
            raise failures[0]

    def _copy(self, message: Received) -> Callable[[str], Message]:
        return lambda message_id: again(message, message_id, self._body)

    def _path(self, message: Received) -> tuple[str, str | None]:
        """Lane, and for a tenant's message the exchange. Raises Unroutable for a message that is nobody's."""
        names, given = self._whose.names, message.properties.headers
        tenant, lane = self._whose.dead(given), given.get(headers.LANE)
        if tenant is None:
            return (BULK if lane == BULK else LIVE), None
        if not tenant:
            raise Unroutable("unknown tenant: the headers of this letter name no exchange and no tenant")
        if self._walk.before_4 and self._whose.forgeable(given):
            raise Unroutable(
                "RabbitMQ dead-lettered this message from the lane that tenants share; before RabbitMQ 4.0 its sender "
                "can forge the tenant. Inspect it with `memq dead show`, then publish it yourself or remove it"
            )
        own = TenantNames(names.prefix, tenant)
        return LIVE, own.bulk if isinstance(lane, str) and lane.endswith(".bulk") else own.commands


def again(letter: Received, message_id: str, body: bytes | None = None) -> Message:
    """Return the message as its sender published it, without attempts, error, deadline and reply address.

    Its caller has given up, and the broker accepts a user name only from that user.
    body: replaces the letter's; not compressed.
    """
    own = ChangedHeaders(letter.properties.headers, names=headers.SPENT, prefixes=headers.BROKER_PREFIXES)
    properties = letter.properties._replace(headers=own, reply_to=None, expiration=None, user_id=None)
    if body is not None:
        properties = properties._replace(content_encoding=None)
    return Message(letter.body if body is None else body, properties, message_id, sent_ms=None)
