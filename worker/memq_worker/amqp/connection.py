import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import memq_amqp
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import AMQPError
from memq_amqp.refusals import Fault, Kind, refusal_of
from yarl import URL

from memq_worker.amqp.failure import lost
from memq_worker.errors import BrokerUnavailable, ConfigurationError

logger = logging.getLogger(__name__)

# Half-open connections are noticed after three heartbeats, so RabbitMQ's default of 60 s would mean three minutes.
_HEARTBEAT_SECONDS = 10


class Brokers:
    """The hosts of one RabbitMQ cluster, tried in turn.

    fast: read and publish through memq_amqp, where the installed aiormq is one that it knows.
    """

    def __init__(self, urls: Sequence[str], name: str, timeout_seconds: float, *, fast: bool = True) -> None:
        self._urls = [_with_heartbeat(url) for url in urls]
        self._turn = itertools.cycle(self._urls)
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._connect = memq_amqp.connect if fast else memq_amqp.connect_stock
        if fast and (reason := memq_amqp.unusable()) is not None:
            logger.warning("falling back to aiormq's frame codec", extra={"reason": reason})

    @property
    def places(self) -> list[str]:
        """The hosts as they may be shown: without user and password."""
        return [place(url) for url in self._urls]

    @asynccontextmanager
    async def connect(self, purpose: str) -> AsyncGenerator[AbstractConnection]:
        """A connection to the next host that takes one, closed at the end.

        Raises ConfigurationError for what will not pass by itself (credentials, virtual host), else BrokerUnavailable.
        """
        connection = await self._next(purpose)
        try:
            yield connection
        finally:
            # A dead peer must not keep us here: closing waits for its answer.
            try:
                with lost():
                    async with asyncio.timeout(self._timeout_seconds):
                        await connection.close()
            except BrokerUnavailable:
                logger.debug("connection lost before closing")

    async def _next(self, purpose: str) -> AbstractConnection:
        # All of them: a session makes two connections, and would with two hosts make the second to the same one always.
        for url in itertools.islice(self._turn, len(self._urls) - 1):
            try:
                return await self._open(url, purpose)
            except BrokerUnavailable as error:
                logger.warning("host skipped", extra={"reason": str(error)})
        return await self._open(next(self._turn), purpose)

    async def _open(self, url: URL, purpose: str) -> AbstractConnection:
        where = place(url)
        try:
            with lost():
                try:
                    return await self._connect(
                        url,
                        timeout=self._timeout_seconds,
                        client_properties={"connection_name": f"{self._name} {purpose}"},
                    )
                except AMQPError as error:
                    raise _refused(error, where, url) from error
        except BrokerUnavailable as error:
            if error.__cause__ is not None and isinstance(error.__cause__, AMQPError):
                raise
            raise BrokerUnavailable(f"{where} cannot be reached or does not answer") from error


def _refused(error: AMQPError, where: str, url: URL) -> ConfigurationError | BrokerUnavailable:
    refusal = refusal_of(error)
    if refusal is None or refusal.kind in (Kind.UNREACHABLE, Kind.LOST):
        return BrokerUnavailable(f"{where} cannot be reached")
    if refusal.kind is Kind.CREDENTIALS:
        return ConfigurationError(f"{where} refused the user or password of MEMQ_AMQP_URL")
    if refusal.fault is Fault.SETTINGS:
        return ConfigurationError(f"{where} refused virtual host {vhost(url)!r}: {refusal}")
    return BrokerUnavailable(f"{where} refused the connection: {refusal}")


def _with_heartbeat(url: str) -> URL:
    parsed = URL(url)
    return parsed if "heartbeat" in parsed.query else parsed.update_query(heartbeat=_HEARTBEAT_SECONDS)


def place(url: URL) -> str:
    return f"{url.scheme}://{url.host}:{url.port or 5672}"


def vhost(url: URL) -> str:
    # As in aio-pika: no path and "/" are the default virtual host, which is called "/".
    return url.path[1:] or "/"
