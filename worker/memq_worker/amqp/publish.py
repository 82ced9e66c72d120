import memq_amqp
from memq_amqp import Lost, Refused, Returned

from memq_schemas.properties import Properties
from memq_worker.amqp.confirm_timeout import ConfirmTimeout
from memq_worker.errors import BrokerUnavailable, Unconfirmed, Unroutable


class TimedPublisher:
    """Publishes with a time limit that is prolonged while the broker has blocked the connection."""

    def __init__(self, publisher: memq_amqp.Publisher, confirm_timeout: ConfirmTimeout) -> None:
        self._publisher = publisher
        self._confirm_timeout = confirm_timeout

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Raises Unroutable, Unconfirmed or BrokerUnavailable; ValueError for a message that the broker cannot take."""
        try:
            async with self._confirm_timeout.limit():
                await self._publisher.publish(exchange, routing_key, body, properties)
        except Returned as error:
            raise Unroutable(f"no queue for exchange {exchange!r}") from error
        except Refused as error:
            raise Unconfirmed(f"exchange {exchange!r} refused a publish") from error
        except (Lost, TimeoutError) as error:
            raise BrokerUnavailable(str(error) or "the broker does not answer") from error
