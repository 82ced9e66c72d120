import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from memq_amqp import Connection, Refused, Returned
from memq_amqp.refusals import Fault, Kind, Refusal

from memq_schemas import Topology
from memq_schemas.properties import Properties
from memq_worker.amqp.backoff import Backoff
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.declare import DeclareMode, declare
from memq_worker.amqp.failure import lost
from memq_worker.amqp.publish_connection import PublishConnection, refusal_behind
from memq_worker.errors import BrokerUnavailable, ConfigurationError, Unconfirmed, Unroutable

logger = logging.getLogger(__name__)

_FIRST_SECONDS = 0.2
_MOST_SECONDS = 5.0
_PROBE_SECONDS = 2.0
# A copy that the broker refuses so often for its own sake is refused for good. The first may be a neighbour's.
_REFUSALS = 3
# A copy to an exchange that is missing or forbidden is refused for good after so many timeouts: until then a person may
# repair it.
_TIMEOUTS = 4


class _Refusals:
    """Refusals of one copy by the broker."""

    def __init__(self, seconds: float) -> None:
        """seconds: for which a missing or forbidden exchange is waited for."""
        self._until = time.monotonic() + seconds
        self._count = 0

    def final(self, refusal: Refusal) -> bool:
        """Return True if another attempt would be refused as well, as far as anybody can tell."""
        if refusal.fault in (Fault.MESSAGE, Fault.UNSURE):
            self._count += 1
            return self._count >= _REFUSALS
        return refusal.fault is Fault.SETTINGS and time.monotonic() > self._until


class Publishing:
    """Confirmed publishing of one session, over a connection of its own that is made anew when it fails.

    A copy that the broker does not take is published again, later and later, until it does or the session ends. To end
    the session instead would have the broker count a failed delivery of everything that the consumers hold.
    """

    def __init__(self, brokers: Brokers, topology: Topology, mode: DeclareMode, timeout_seconds: float) -> None:
        self._topology = topology
        self._mode: DeclareMode = mode
        self._timeout_seconds = timeout_seconds
        self._connection = PublishConnection(brokers, "publish", timeout_seconds, self._declare_on)
        self._failing = 0
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._backoff = Backoff(self.ended, _FIRST_SECONDS, _MOST_SECONDS)
        self.reason = ""
        self.down: frozenset[str] = frozenset()  # queues whose node was down when they were declared last

    @property
    def connection(self) -> Connection:
        """The present one. Raises BrokerUnavailable while there is none."""
        return self._connection.connection

    def end(self, reason: str) -> None:
        """Fail every waiting copy with BrokerUnavailable and this reason."""
        if not self.ended.done():
            self.ended.set_result(reason)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Return once the broker has confirmed.

        Raises BrokerUnavailable once the session has ended, and ValueError for a message that the broker never takes,
        or has refused for long because the exchange is missing or forbidden.
        """
        failures = 0
        refusals = _Refusals(_TIMEOUTS * self._timeout_seconds)
        try:
            while True:
                if self.ended.done():
                    raise BrokerUnavailable(self.ended.result())
                try:
                    return await self._connection.publish(exchange, routing_key, body, properties)
                except Unroutable as error:
                    await self.declare()  # somebody has taken the queue away
                    reason = str(error)
                except Unconfirmed as error:
                    reason = str(error)
                except ConfigurationError as error:
                    self.end(str(error))
                    raise BrokerUnavailable(str(error)) from error
                except BrokerUnavailable as error:
                    reason = str(error)
                    await self._refused(error, refusals)
                self._failed(reason, first=not failures)
                failures += 1
                await self._backoff.pause(failures)
        finally:
            if failures:
                self._passed()

    async def accepted(self, exchange: str, routing_key: str, properties: Properties) -> bool:
        """Publish an empty message once, on a channel of its own. Return False if a queue refuses it.

        Raises Unroutable and BrokerUnavailable.
        """
        with lost():
            async with asyncio.timeout(_PROBE_SECONDS):
                channel = await self.connection.channel()
                try:
                    await channel.publisher().publish(exchange, routing_key, b"", properties)
                except Refused:
                    return False
                except Returned as error:
                    raise Unroutable(str(error)) from error
                finally:
                    await channel.close()
        return True

    def _failed(self, reason: str, *, first: bool) -> None:
        self._failing += first
        if not self.reason:
            logger.warning("broker refuses retry and dead-letter copies", extra={"reason": reason})
        self.reason = reason

    def _passed(self) -> None:
        self._failing -= 1
        if not self._failing:
            self.reason = ""
            if not self.ended.done():
                logger.info("broker accepts retry and dead-letter copies again")

    async def _refused(self, error: BrokerUnavailable, refusals: _Refusals) -> None:
        """Raise ValueError if the refusal is final. Declare the topology again if an exchange is missing."""
        refusal = refusal_behind(error)
        if refusal is None:
            return
        if refusals.final(refusal):
            raise ValueError(f"the broker refuses the copy: {refusal}") from error
        if refusal.kind is Kind.NOT_FOUND:
            try:
                with suppress(BrokerUnavailable):
                    await self._connection.open()
                    await self.declare()
            except ConfigurationError as missing:
                self.end(str(missing))

    async def declare(self) -> None:
        """Again. Raises BrokerUnavailable."""
        await self._declare(self.connection)

    async def _declare(self, connection: Connection) -> None:
        try:
            await self._declare_on(connection)
        except ConfigurationError as error:
            self.end(str(error))
            raise BrokerUnavailable(str(error)) from error

    async def _declare_on(self, connection: Connection) -> None:
        self.down = await declare(connection, self._topology, self._mode, self._timeout_seconds)

    async def close(self) -> None:
        self.end("closed")
        await self._connection.close()

    async def open(self) -> None:
        """Raises ConfigurationError or BrokerUnavailable."""
        await self._connection.open()


@asynccontextmanager
async def publishing(
    brokers: Brokers, topology: Topology, mode: DeclareMode, timeout_seconds: float
) -> AsyncGenerator[Publishing]:
    """Connected, with the topology declared or checked. Raises ConfigurationError or BrokerUnavailable."""
    made = Publishing(brokers, topology, mode, timeout_seconds)
    await made.open()
    try:
        yield made
    finally:
        await made.close()
