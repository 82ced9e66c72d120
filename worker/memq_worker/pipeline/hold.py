import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from memq_worker.errors import Outage
from memq_worker.pipeline.observer import Observer

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Abandoned(Exception):
    """The hold ended because nobody waits for its result any more: the worker stops, or the channel is gone."""


class Hold:
    """Waits out an outage of the store: the same call again, with backoff, until it gets through. Spends no attempts.

    What is held stays unacknowledged, so the prefetch fills up and the broker sends no more.
    """

    def __init__(self, observer: Observer, *, first_seconds: float = 0.2, most_seconds: float = 5.0) -> None:
        self._observer = observer
        self._stopping = asyncio.Event()
        self._since: float | None = None
        self._waiting = 0
        self._error: Outage | None = None
        self._backoff = wait_exponential(multiplier=first_seconds, max=most_seconds) + wait_random(0, first_seconds)
        self.most_seconds = most_seconds

    @property
    def error(self) -> Outage | None:
        """Why the store is held; None while it is not."""
        return self._error

    def stop(self) -> None:
        """Every held call is abandoned now, and every later one at its first outage."""
        self._stopping.set()

    async def through(self, call: Callable[[], Awaitable[T]], wanted: Callable[[], bool]) -> T:
        """The result of `call`. Raises Abandoned once stopped or unwanted, and whatever else `call` raises."""
        self._waiting += 1
        try:
            try:
                result = await call()
            except Outage as error:
                result = await self._wait_out(error, call, wanted)
            self._released()
            return result
        finally:
            self._waiting -= 1
            if not self._waiting:
                # Nobody asks the store any more, so nobody would notice that it is back.
                self._released()

    async def _wait_out(self, error: Outage, call: Callable[[], Awaitable[T]], wanted: Callable[[], bool]) -> T:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Outage),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=lambda state: self._check(state, wanted),
            reraise=True,
        )
        met = [error]
        results: list[T] = []

        async def attempt() -> None:
            # The outage that brought us here counts as the first attempt.
            if met:
                raise met.pop()
            results.append(await call())

        await retrying(attempt)
        return results[0]

    def _check(self, state: RetryCallState, wanted: Callable[[], bool]) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, Outage)
        self._held(error)
        if self._stopping.is_set() or not wanted():
            raise Abandoned from error

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_seconds if isinstance(error, Outage) else None
        return max(self._backoff(state), asked or 0.0)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _held(self, error: Outage) -> None:
        self._error = error
        if self._since is None:
            self._since = time.monotonic()
            self._observer.held(True)
            logger.warning("store held", extra={"code": error.code.value, "reason": error.message})

    def _released(self) -> None:
        if self._since is not None:
            seconds = round(time.monotonic() - self._since, 3)
            self._since = None
            self._error = None
            self._observer.held(False)
            logger.info("store back", extra={"held_seconds": seconds})
