from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import memq_amqp
from memq_amqp import Address, Connection, NoConnection
from memq_amqp.brokers import Reread

from memq_worker.errors import BrokerUnavailable, ConfigurationError


class Brokers:
    """The nodes of one RabbitMQ cluster, tried in turn."""

    def __init__(
        self,
        addresses: Sequence[Address],
        name: str,
        timeout_seconds: float,
        *,
        fast: bool = True,
        reread: Reread | None = None,
    ) -> None:
        """Arguments of memq_amqp.Brokers."""
        self._brokers = memq_amqp.Brokers(addresses, name=name, timeout=timeout_seconds, fast=fast, reread=reread)
        self._timeout_seconds = timeout_seconds

    @property
    def places(self) -> list[str]:
        """The nodes as they may be shown: without user and password."""
        return [f"{address.scheme}://{address.place}" for address in self._brokers.addresses]

    @asynccontextmanager
    async def connect(self, purpose: str) -> AsyncGenerator[Connection]:
        """A connection to the next node that takes one, closed at the end.

        Raises ConfigurationError for what will not pass by itself (login, certificate, virtual host), else
        BrokerUnavailable.
        """
        try:
            connection = await self._brokers.connect(purpose)
        except NoConnection as error:
            raise (ConfigurationError if error.settings else BrokerUnavailable)(str(error)) from error
        try:
            yield connection
        finally:
            await connection.close(self._timeout_seconds)
