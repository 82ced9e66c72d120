import asyncio
from collections.abc import Callable
from typing import Protocol

from memq_worker.amqp.failure import lost
from memq_worker.amqp.prefetch import Prefetch
from memq_worker.errors import BrokerUnavailable
from memq_worker.pipeline.limits.allowance import Allowance

# The account of the lane's tenant; None while it has no limits.
Account = Callable[[], Allowance | None]

REASON = "the tenant's rate limit is reached"
_LEAST_SECONDS = 0.001  # a shorter rest may be less than the clock can tell
_MOST_SECONDS = 1.0  # between two checks: the limits may have changed


class Paused(Protocol):
    """The consumer of a lane."""

    @property
    def alive(self) -> bool: ...

    async def stop_consuming(self, timeout: float, why: str) -> None: ...

    async def resume_consuming(self, timeout: float, why: str) -> None: ...

    def abandon(self, reason: str) -> None: ...


class LanePause:
    """Pauses the consumer of a lane while its tenant has overdrawn a rate limit.

    Messages that have been received are processed, so nothing is handed back and nothing is held unacknowledged: the
    excess waits in the queue, however long, without spending deliveries or meeting the consumer timeout.
    """

    def __init__(self, consumer: Paused, account: Account, timeout: float) -> None:
        self._consumer = consumer
        self._account = account
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Pause the consumer if a limit is reached. To be called after each delivery."""
        if self._task is None and (allowance := self._account()) is not None and allowance.rest > 0:
            for name in allowance.reached:
                if name != "requests_per_second":
                    allowance.note(name)
            self._task = asyncio.create_task(self._rest())

    async def _rest(self) -> None:
        try:
            with lost():
                await self._consumer.stop_consuming(self._timeout, REASON)
                while self._consumer.alive and (seconds := self._seconds()) > 0:  # noqa: ASYNC110  (time is all there is)
                    await asyncio.sleep(max(_LEAST_SECONDS, min(seconds, _MOST_SECONDS)))
                await self._consumer.resume_consuming(self._timeout, REASON)
        except BrokerUnavailable as error:
            self._consumer.abandon(str(error))
        finally:
            self._task = None

    def _seconds(self) -> float:
        allowance = self._account()
        return 0.0 if allowance is None else allowance.rest


class PacedPrefetch(Prefetch):
    """Prefetch count of a lane with a rate limit: what the tenant may write within an eighth of a second."""

    def __init__(self, inner: Prefetch, account: Account) -> None:
        self._inner = inner
        self._account = account
        self.count = 1 if account() is not None else inner.count

    def add(self, size: int) -> None:
        self._inner.add(size)
        wanted = self._allowed
        if wanted >= 2 * self.count or 2 * wanted <= self.count:
            self.count = wanted

    def renew(self) -> None:
        self._inner.renew()
        self.count = self._inner.count if self._account() is None else min(self.count, self._allowed)

    @property
    def _allowed(self) -> int:
        allowance = self._account()
        window = None if allowance is None else allowance.window
        return self._inner.count if window is None else min(self._inner.count, window)
