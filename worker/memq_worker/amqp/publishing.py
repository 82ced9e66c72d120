import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

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
_OF_THE_MESSAGE = (Fault.MESSAGE, Fault.UNSURE)


class _Refusals:
    """Refusals of one copy by the broker. Each method raises ValueError if another attempt would be refused as well."""

    def __init__(self, seconds: float) -> None:
        """seconds: for which a missing or forbidden exchange is waited for."""
        self._until = time.monotonic() + seconds
        self.count = 0

    def add(self, refusal: Refusal) -> None:
        """Count a refusal for the sake of this copy."""
        self.count += 1
        if self.count >= _REFUSALS:
            raise _final(refusal)

    def check(self, refusal: Refusal) -> None:
        """Look at a refusal for the sake of the exchange, of this copy or another."""
        if time.monotonic() > self._until:
            raise _final(refusal)


def _final(refusal: Refusal) -> ValueError:
    return ValueError(f"the broker refuses the copy: {refusal}")


class _Trouble:
    """One exchange that has refused a copy, or has had none: until it takes one, copies are published one at a time.

    A refusal costs a channel or a connection. All copies together wait as one would, longer after each refusal.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.copies = 0
        self.failures = 0
        self.refusal: Refusal | None = None
        """Why the exchange refuses copies, if a person has to repair it."""
        self.missing = False
        """True if the exchange or its queue was deleted. One copy declares them again, for all."""
        self.over = False


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
        self._troubles: dict[str, _Trouble] = {}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._backoff = Backoff(self.ended, _FIRST_SECONDS, _MOST_SECONDS)
        self.reason = ""
        self.down: frozenset[str] = frozenset()  # queues whose node was down when they were declared last

    @property
    def connection(self) -> Connection:
        """The present one. Raises BrokerUnavailable while there is none."""
        return self._connection.connection

    @property
    def exchanges(self) -> tuple[str, ...]:
        """Names of memq's exchanges."""
        return tuple(exchange.name for exchange in self._topology.exchanges)

    @property
    def declares(self) -> bool:
        """Return True if the worker may declare the topology."""
        return self._mode == "always"

    def end(self, reason: str) -> None:
        """Fail every waiting copy with BrokerUnavailable and this reason."""
        if not self.ended.done():
            self.ended.set_result(reason)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Return once the broker has confirmed.

        Raises BrokerUnavailable once the session has ended, and ValueError for a message that the broker never takes,
        or has refused for long because the exchange is missing or forbidden.
        """
        refusals = _Refusals(_TIMEOUTS * self._timeout_seconds)
        copy = partial(self._connection.publish, exchange, routing_key, body, properties)
        while True:
            trouble = self._troubles.get(exchange)
            if trouble is None and self._connection.proven(exchange):
                if await self._published(copy, exchange, refusals):
                    return
                continue
            if trouble is None:
                trouble = self._troubles[exchange] = _Trouble()
            trouble.copies += 1
            try:
                async with trouble.turn:
                    while not trouble.over:
                        if trouble.refusal is not None:
                            refusals.check(trouble.refusal)
                        await self._backoff.pause(trouble.failures)
                        if trouble.missing:
                            trouble.missing = False
                            await self._declare_missing()
                        if await self._published(copy, exchange, refusals):
                            return
                        trouble.failures += 1
            finally:
                trouble.copies -= 1
                if not trouble.copies and not trouble.over:
                    self._passed(exchange)

    async def _published(self, copy: Callable[[], Awaitable[None]], exchange: str, refusals: _Refusals) -> bool:
        """Publish once. Return False if the broker did not take the copy and may take it later."""
        if self.ended.done():
            raise BrokerUnavailable(self.ended.result())
        try:
            await copy()
        except Unroutable as error:
            self._failed(exchange, str(error)).missing = True
        except Unconfirmed as error:
            self._failed(exchange, str(error))
        except ConfigurationError as error:
            self.end(str(error))
            raise BrokerUnavailable(str(error)) from error
        except BrokerUnavailable as error:
            refusal = refusal_behind(error)
            if refusal is not None and refusal.fault in _OF_THE_MESSAGE:
                refusals.add(refusal)
                await self._backoff.pause(refusals.count)
            else:
                trouble = self._failed(exchange, str(error))
                if refusal is not None and refusal.fault is Fault.SETTINGS:
                    trouble.refusal = refusal
                    trouble.missing = refusal.kind is Kind.NOT_FOUND
                    refusals.check(refusal)
        else:
            self._passed(exchange)
            return True
        return False

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

    def _failed(self, exchange: str, reason: str) -> _Trouble:
        if not self.reason:
            logger.warning("broker refuses retry and dead-letter copies", extra={"reason": reason})
        self.reason = reason
        return self._troubles.setdefault(exchange, _Trouble())

    def _passed(self, exchange: str) -> None:
        if (trouble := self._troubles.pop(exchange, None)) is not None:
            trouble.over = True
            if self.reason and not self._troubles:
                self.reason = ""
                if not self.ended.done():
                    logger.info("broker accepts retry and dead-letter copies again")

    async def _declare_missing(self) -> None:
        try:
            with suppress(BrokerUnavailable):
                await self._connection.open()
                await self.declare()
        except ConfigurationError as error:
            self.end(str(error))

    async def declare_again(self) -> None:
        """Raises ConfigurationError and BrokerUnavailable, and does not end the session."""
        await self._declare_on(self.connection)

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
