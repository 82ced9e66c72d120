from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from memq.connection.address import brokers
from memq.connection.link import Link
from memq.connection.replies import Pending
from memq.dead import DeadLetters
from memq.deliver.calls import Calls, read
from memq.deliver.query_packs import QueryPacks
from memq.deliver.quota import Quota
from memq.deliver.sender import Sender
from memq.deliver.write_path import Window, WritePath
from memq.errors import MessageTooLarge, Unconfirmed
from memq.outbox import Outbox
from memq_schemas import Operation, TenantLimit, TenantLimits
from memq_schemas.tenants import TenantNames

if TYPE_CHECKING:
    from memq.options import Options

WINDOW_BYTES = 32 * 1024 * 1024

# Messages of one call that may wait for the worker's answer at once: enough to keep it busy, few enough that the last
# one's answer does not come late only because of those before it.
WAITING_MESSAGES = 32

# With an outbox nobody has to wait for the broker; but a wrong password should be told at the start, not in a log.
FIRST_LOOK_SECONDS = 3.0

LIMITS_SECONDS = 5.0
_LIMITS = TypeAdapter(TenantLimits)


class ProducerParts:
    """Parts of an open producer."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.pending = Pending()
        self.link = Link(
            brokers(options.url, options.client, fast=options.frames == "fast"),
            options.route,
            self.pending,
            listener=options.listener,
        )
        self.sender = Sender(self.link, self.pending)
        self.calls = Calls(self.sender, options.timeout, options.max_message_bytes)
        route = options.route
        self.queries = QueryPacks(self.calls, self.sender, options.timeout, packs=not isinstance(route, TenantNames))
        self.quota = self.sender.quota = Quota(route, self._limits) if isinstance(route, TenantNames) else None
        self.outbox = (
            None if options.outbox is None else Outbox(options.outbox, options.outbox_bytes, options.confirm_timeout)
        )
        window = Window(options.max_in_flight, WINDOW_BYTES)
        self.confirmed = WritePath(self.sender, window, options, self.outbox, asks=False)

    async def _limits(self) -> list[TenantLimit]:
        seconds = min(LIMITS_SECONDS, self._options.timeout)
        return read(_LIMITS, await self.calls.ask(Operation.LIMITS, None, b"{}", seconds)).limits

    @property
    def dead(self) -> DeadLetters:
        options = self._options
        return DeadLetters(self.link, self.sender, options.names, options.client, options.confirm_timeout)

    def write_path(self, wait: bool) -> WritePath:
        """Writes of one call."""
        if not wait:
            return self.confirmed
        # Waiting for slow answers must not take the room of other calls' publishes.
        return WritePath(self.sender, Window(WAITING_MESSAGES, WINDOW_BYTES), self._options, self.outbox, asks=True)

    async def start(self) -> None:
        """Raises what entering a producer raises."""
        timeout = self._options.timeout
        if self.outbox is None:
            await self.link.open(timeout)
            return
        await self.outbox.open()
        try:
            await self.link.open(min(timeout, FIRST_LOOK_SECONDS), required=False)
        except BaseException:
            await self.outbox.close()
            raise
        self.outbox.start(self.sender)

    async def close(self, *, flush: bool) -> None:
        """Give the outbox time to send while the broker is connected; stored messages are safe."""
        if self.outbox is not None:
            if flush and self.link.connected:
                # What is left is in the file, and logged where nobody but the next producer can send it.
                with contextlib.suppress(Unconfirmed, MessageTooLarge):
                    await self.outbox.sent(self._options.confirm_timeout)
            await self.outbox.close()
        if self.quota is not None:
            await self.quota.close()
        await self.link.close()
        await self.queries.ended()
