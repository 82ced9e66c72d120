import asyncio
import logging
from collections import OrderedDict

from memq_amqp.refusals import Fault

from memq_schemas.properties import Properties
from memq_worker.amqp.backoff import Backoff
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.publish_connection import PublishConnection, refusal_behind
from memq_worker.errors import BrokerUnavailable, ConfigurationError, Unconfirmed

logger = logging.getLogger(__name__)

# RabbitMQ 3.10 closes the connection that publishes to a direct reply-to address with a forged token.
_DIRECT = "amq.rabbitmq.reply-to."
_ADDRESSES = 4096
_TRIALS = 8
_FIRST_SECONDS = 0.1
_MOST_SECONDS = 2.0


class Replies:
    """Publishes the replies of one session, apart from retry copies and dead letters.

    A direct reply-to address that has never worked is tried on a connection of its own, one reply at a time. So a
    refused reply leaves no other in doubt. Each reply ends: confirmed, refused, or at its expiration.
    """

    def __init__(self, brokers: Brokers, timeout_seconds: float, ended: asyncio.Future[str]) -> None:
        """ended: done when the session has ended, with the reason."""
        self._known = PublishConnection(brokers, "reply", timeout_seconds)
        self._trial = PublishConnection(brokers, "reply trial", timeout_seconds)
        self._backoff = Backoff(ended, _FIRST_SECONDS, _MOST_SECONDS)
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._trying = 0
        self._turn = asyncio.Lock()
        self._refused = 0
        self._draining = False

    def drain(self) -> None:
        """Try waiting replies without a pause from now on: no more come, and the worker stops when they have ended."""
        self._draining = True

    async def publish(self, exchange: str, address: str, body: bytes, properties: Properties) -> None:
        """Return once the broker has confirmed.

        exchange: of the tenant; empty for the operator's replies, which go to the queue `address` itself.

        Raises Unroutable if there is no such queue, Unconfirmed if the broker refuses the reply or has not taken it
        before its expiration, and BrokerUnavailable once the session has ended.
        """
        try:
            # Not before its deadline, of which the expiration is rounded down.
            async with asyncio.timeout(
                None if properties.expiration is None else int(properties.expiration) / 1000 + 0.001
            ):
                if address.startswith(_DIRECT) and address not in self._proven:
                    await self._try(address, body, properties)
                else:
                    await self._until_confirmed(self._known, exchange, address, body, properties, alone=False)
        except TimeoutError:
            raise Unconfirmed("the broker did not accept the reply before it expired") from None

    async def _try(self, address: str, body: bytes, properties: Properties) -> None:
        if self._trying >= _TRIALS:
            raise Unconfirmed(f"{_TRIALS} replies to new direct reply-to addresses are already waiting")
        self._trying += 1
        try:
            async with self._turn:
                # Not sooner after many refusals: each costs a connection.
                await self._backoff.pause(0 if self._draining else self._refused)
                await self._until_confirmed(self._trial, "", address, body, properties, alone=True)
                self._refused = 0
        finally:
            self._trying -= 1
        self._proven[address] = None
        if len(self._proven) > _ADDRESSES:
            self._proven.popitem(last=False)

    async def _until_confirmed(
        self,
        connection: PublishConnection,
        exchange: str,
        address: str,
        body: bytes,
        properties: Properties,
        *,
        alone: bool,
    ) -> None:
        failures = 0
        while True:
            try:
                await connection.publish(exchange, address, body, properties, alone=alone)
            except ValueError as error:
                raise self._refusal(str(error)) from error
            except (BrokerUnavailable, ConfigurationError) as error:
                refusal = refusal_behind(error) if isinstance(error, BrokerUnavailable) else None
                if refusal is not None and refusal.fault is not Fault.BROKER:
                    if alone:
                        raise self._refusal(str(refusal)) from error
                    alone = True  # the refused one may be another; alone it shows
                failures += 1
                await self._backoff.pause(failures)
            else:
                return

    def _refusal(self, reason: str) -> Unconfirmed:
        self._refused += 1
        logger.warning("reply refused by the broker", extra={"reason": reason})
        return Unconfirmed(reason)

    async def close(self) -> None:
        await self._known.close()
        await self._trial.close()
