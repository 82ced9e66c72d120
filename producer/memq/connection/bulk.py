"""The bulk lane of one connection."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING

from memq_amqp import Lost, losing
from memq_amqp.refusals import Kind

from memq.connection.publisher import Publisher
from memq.errors import Unroutable

if TYPE_CHECKING:
    from memq_amqp import Connection

log = logging.getLogger(__name__)


class BulkLane:
    """Publishes to the bulk exchange, on a channel of its own that is opened with the first message.

    An error on that channel, such as a missing exchange or right, leaves the connection and the live lane alone.
    """

    def __init__(self, connection: Connection, exchange: str) -> None:
        self._connection = connection
        self._exchange = exchange
        self._opening: asyncio.Task[Publisher | None] | None = None
        self._publisher: Publisher | None = None
        self.refused = ""
        """Why messages of the bulk lane are sent through the live lane; empty while they are not."""

    async def publisher(self) -> Publisher | None:
        """Return the publisher, or None if the broker has no bulk exchange for this user. Raises Lost."""
        if self._publisher is not None or self.refused:
            return self._publisher
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name="memq-bulk", context=contextvars.Context())
        with losing():
            return await asyncio.shield(self._opening)

    async def required(self) -> Publisher:
        """Return the publisher. Raises Unroutable if the broker has no such exchange for this user, and Lost."""
        found = await self.publisher()
        if found is None:
            raise Unroutable(self.refused)
        return found

    async def _open(self) -> Publisher | None:
        channel = await self._connection.channel()
        try:
            await channel.declare_exchange(self._exchange, passive=True)
        except Lost as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.PERMISSION):
                raise
            self._refuse(error)
            return None
        self._publisher = Publisher(channel.publisher(), self._exchange)
        channel.on_close(self._closed)
        return self._publisher

    def _refuse(self, error: BaseException) -> None:
        self.refused = f"exchange {self._exchange}: {error}"
        log.warning("bulk lane unavailable, live lane used", extra={"reason": self.refused})

    def _closed(self, error: Lost) -> None:
        if error.kind is Kind.PERMISSION:
            self._refuse(error)
        self.close(str(error))

    def close(self, reason: str) -> None:
        """Fail what waits for a confirm. The next message opens the channel again."""
        closing, self._publisher = self._publisher, None
        if closing is not None:
            closing.close(reason)
