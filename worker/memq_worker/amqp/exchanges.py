"""Exchanges that somebody deleted under a running worker. The broker cancels no consumer for them and tells nobody."""

import asyncio
import logging

from memq_amqp import Channel, Lost
from memq_amqp.refusals import Kind

from memq_worker.amqp.failure import lost
from memq_worker.amqp.publishing import Publishing
from memq_worker.errors import ConfigurationError

logger = logging.getLogger(__name__)


class Exchanges:
    """Exchanges of one session: declares a missing one again where the worker may, and reports it."""

    def __init__(self, publishing: Publishing, timeout_seconds: float) -> None:
        self._publishing = publishing
        self._timeout_seconds = timeout_seconds
        self._channel: Channel | None = None
        self._reported: str | None = None

    async def look(self) -> None:
        """Look once. Raises BrokerUnavailable."""
        missing = await self._missing()
        if missing is None:
            if self._reported is not None:
                logger.info("exchange declared again", extra={"exchange": self._reported})
            self._reported = None
            return
        reason = "run memq-worker declare"
        if self._publishing.declares:
            try:
                await self._publishing.declare_again()
            except ConfigurationError as error:
                reason = str(error)
            else:
                reason = "declared again"
        if self._reported != missing:
            self._reported = missing
            logger.error("exchange missing", extra={"exchange": missing, "reason": reason})

    async def _missing(self) -> str | None:
        """Return the first exchange that is missing."""
        with lost():
            async with asyncio.timeout(self._timeout_seconds):
                # One of its own, kept from look to look: the broker closes it for an exchange that is missing.
                if self._channel is None or self._channel.closed:
                    self._channel = await self._publishing.connection.channel(confirms=False)
                return await _first_missing(self._channel, self._publishing.exchanges)


async def _first_missing(channel: Channel, exchanges: tuple[str, ...]) -> str | None:
    for exchange in exchanges:
        try:
            await channel.declare_exchange(exchange, passive=True)
        except Lost as error:
            if error.kind is Kind.NOT_FOUND:
                return exchange
            raise
    return None
