import asyncio
from dataclasses import dataclass

from memq_amqp.backoff import jittered

from memq_worker.errors import BrokerUnavailable


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses of a session between publishes that fail, twice as long after each: `first` to `most` seconds.

    ended: done when the session has ended, with the reason.
    """

    ended: asyncio.Future[str]
    first: float
    most: float

    async def pause(self, failures: int) -> None:
        """Wait after so many failures, or until the session ends. Raises BrokerUnavailable once it has ended."""
        if failures:
            await asyncio.wait({self.ended}, timeout=jittered(failures, self.first, self.most))
        if self.ended.done():
            raise BrokerUnavailable(self.ended.result())
