import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from memq_amqp.tasks import stop

from memq_worker.errors import Throttled
from memq_worker.pipeline.diagnosis import Diagnosis

logger = logging.getLogger(__name__)

SLOW_SECONDS = 1.0
_REMEMBERED_SECONDS = 150.0  # longer than a parked message of a held collection waits
_MOST_PLACES = 16


@dataclass(frozen=True, slots=True)
class HeldLimits:
    """Limits on the messages of one collection while it is held, or slow, and the store answers others.

    messages, size: that stay unacknowledged, and the bytes of their bodies; the rest are parked in the retry tiers.
    None keeps all in their place, as strict order needs. seconds: after which those of a held collection are parked.
    """

    messages: int | None = None
    size: float = math.inf
    seconds: float = math.inf


class Share(NamedTuple):
    """Messages that a held or slow collection may keep unacknowledged, and the bytes of their bodies."""

    messages: int
    size: float


@dataclass(slots=True)
class _Slow:
    """seconds_each: per message.   moves: messages that may still be parked where no quick collection is known."""

    seconds_each: float
    moves: int
    until: float


class Window:
    """Shares of the prefetch window: a held or slow collection keeps a quarter of it, all of them together a half.

    A collection is slow once a write has been in flight for a second while the store answers another question, and
    until a write takes less. Where a quick collection was written lately, the messages of a slow one beyond its share
    are parked. Where none was, at most a window of messages is parked each second, because others may wait behind them.
    """

    def __init__(self, limits: HeldLimits, diagnosis: Diagnosis) -> None:
        self.limits = limits
        self._diagnosis = diagnosis
        self.slow_ones: dict[str, _Slow] = {}
        self.held_ones: dict[str, float] = {}  # collection: when it was held last
        self._places = 0  # of the scheduler, given up by slow writes

    @property
    def share(self) -> Share | None:
        """Share that a held or slow collection may keep unacknowledged; None for everything."""
        most = self.limits.messages
        if most is None:
            return None
        number = len(self.slow_ones.keys() | self.held_ones.keys())
        part = 1.0 if number <= 2 else 2 / number
        return Share(max(1, int(most * part)), self.limits.size * part)

    def held(self, collection: str) -> None:
        """Note that a collection is held now."""
        now = time.monotonic()
        self.held_ones[collection] = now
        self.held_ones = {name: at for name, at in self.held_ones.items() if at > now - _REMEMBERED_SECONDS}

    def wrote(self, collection: str, seconds: float) -> None:
        """Note that a write to a collection has succeeded after `seconds`."""
        self.held_ones.pop(collection, None)
        if self.slow_ones and seconds < SLOW_SECONDS and self.slow_ones.pop(collection, None) is not None:
            logger.info("slow writes ended", extra={"collection": collection})

    def slow(self, collection: str, waiting: Callable[[str], int]) -> Throttled | None:
        """Return the error of a message that is parked because its collection is slow; None if it may stay.

        waiting: returns how many messages of a collection are parked already.
        """
        slow = self.slow_ones.get(collection) if self.slow_ones else None
        if slow is None:
            return None
        if slow.until < time.monotonic():
            del self.slow_ones[collection]
            return None
        if slow.moves <= 0 and not self._diagnosis.wrote_others(self.slow_ones):
            return None
        text = "the store takes longer than a second to write to the collection"
        return Throttled(text, retry_after_seconds=slow.seconds_each * waiting(collection))

    def moved(self, collection: str, messages: int) -> None:
        """Note that messages of a slow collection are parked."""
        self.slow_ones[collection].moves -= messages

    def watch(
        self,
        collection: str,
        messages: int,
        release: Callable[[], None] | None,
        found: Callable[[], None],
        began: float,
    ) -> "Watch":
        """Watch a write that has been in flight for SLOW_SECONDS, since `began` on the monotonic clock.

        release: gives up its place in the scheduler, called once if it is slow. found: called each second that it is.
        """
        return Watch(self, collection, messages, release, found, began)

    async def is_slow(self, collection: str, seconds_each: float) -> bool:
        """Return True if the store answers another question than a write that is in flight for long."""
        if not await self._diagnosis.answers():
            return False
        if collection not in self.slow_ones:
            logger.warning("slow writes detected", extra={"collection": collection})
        until = time.monotonic() + _REMEMBERED_SECONDS
        self.slow_ones[collection] = _Slow(seconds_each, 4 * (self.limits.messages or 0), until)
        return True

    def lend(self, change: int) -> bool:
        """Count a place that a slow write gives up, or its end. Return False if too many have."""
        if change > 0 and self._places >= _MOST_PLACES:
            return False
        self._places += change
        return True


class Watch:
    """One write that is in flight for long."""

    __slots__ = ("_began", "_collection", "_found", "_lent", "_messages", "_release", "_task", "_window")

    def __init__(
        self,
        window: Window,
        collection: str,
        messages: int,
        release: Callable[[], None] | None,
        found: Callable[[], None],
        began: float,
    ) -> None:
        self._window = window
        self._collection = collection
        self._messages = messages
        self._release = release
        self._found = found
        self._began = began
        self._lent = False
        limited = window.limits.messages is not None
        self._task = asyncio.create_task(self._look()) if limited else None

    def end(self) -> None:
        """Note that the write has ended."""
        if self._task is not None:
            stop(self._task)
        if self._lent:
            self._window.lend(-1)

    async def _look(self) -> None:
        while True:
            # The next write takes as many messages as may wait, if this one has fewer.
            messages = max(self._messages, self._window.limits.messages or 0)
            each = (time.monotonic() - self._began) / messages
            if await self._window.is_slow(self._collection, each):
                if self._release is not None and not self._lent and self._window.lend(1):
                    self._lent = True
                    self._release()
                self._found()
            await asyncio.sleep(SLOW_SECONDS)
