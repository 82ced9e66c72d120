import heapq
import itertools
import math
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from memq_schemas import headers
from memq_worker.errors import Throttled
from memq_worker.pipeline.command import Write
from memq_worker.pipeline.outcome import Retry, tier_within

if TYPE_CHECKING:
    from memq_worker.errors import WorkerError

# A parked message returns to the end of its queue, so it is delivered later than its tier ends. Another worker may
# receive it, so its return is not awaited for ever.
_GRACE_SECONDS = 30.0
_MARGIN_SECONDS = 0.5
_MOST_AWAITED = 50_000  # messages; the order of those above is not kept
_PRUNE_SECONDS = 10.0


class _Awaited:
    """Numbers of parked messages, and when each returns on the monotonic clock."""

    def __init__(self) -> None:
        self._backs: dict[int, float] = {}
        self._heap: list[int] = []  # the same numbers

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, number: int, back: float) -> None:
        if number not in self._backs:
            heapq.heappush(self._heap, number)
        self._backs[number] = back

    def returned(self, number: int) -> None:
        if number in self._backs:
            self._backs[number] = -math.inf

    def seconds(self, number: int, now: float) -> float | None:
        """How long the lowest number below `number` is still away; None if there is none."""
        while self._heap and self._backs[self._heap[0]] + _GRACE_SECONDS < now:
            del self._backs[heapq.heappop(self._heap)]
        if not self._heap or self._heap[0] >= number:
            return None
        return self._backs[self._heap[0]] - now


class _Line:
    """Parked messages of one collection and lane: all of them, and those that select by filter."""

    def __init__(self) -> None:
        self.every = _Awaited()
        self.filters = _Awaited()
        self.reason: WorkerError | None = None  # why the last one was parked


class ParkedMessages:
    """Writes that wait in the retry tiers because their collection is held or its rate limit is reached.

    A write by filter keeps its place among the others of its collection and lane: it waits until those that arrived
    before it are back, and those that arrived after it wait until it is back. That holds within one worker: what
    another has parked is unknown here. Other writes are not ordered among each other.
    """

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], _Line] = {}
        self._prune_at = 0.0
        self._here = secrets.token_hex(4)
        self.numbers = itertools.count(1)

    def arrived(self, command: Write) -> Retry | None:
        """Number a delivery. Return its outcome if it has to wait behind parked writes; None if it may stay."""
        number = self._number(command)
        command.delivery.place = number or next(self.numbers)
        if self.lines:
            self._prune(time.monotonic())
        line = self.lines.get(_key(command)) if self.lines else None
        if line is None or line.reason is None or command.delivery.alone:
            return None
        if number:
            line.every.returned(number)
            line.filters.returned(number)
        awaited = line.every if command.ids is None else line.filters
        seconds = awaited.seconds(command.delivery.place, time.monotonic())
        return None if seconds is None else Retry(tier_within(seconds + _MARGIN_SECONDS), line.reason, spends=False)

    def park(self, command: Write, outcome: Retry) -> Retry:
        """Note that a delivery is parked. Return its outcome with its number."""
        now = time.monotonic()
        self._prune(now)
        line = self.lines.setdefault(_key(command), _Line())
        line.reason = outcome.error
        number, back = command.delivery.place, now + outcome.seconds
        if not number or len(line.every) >= _MOST_AWAITED:
            return outcome
        line.every.add(number, back)
        if command.ids is None:
            line.filters.add(number, back)
        return replace(outcome, place=f"{self._here}-{number}")

    def waiting(self, collection: str) -> int:
        """Count the parked messages of a collection, and some that have returned."""
        return sum(len(line.every) for (name, _), line in self.lines.items() if name == collection)

    def _number(self, command: Write) -> int:
        """The number that this worker gave a message before it parked it; 0 for others."""
        place = command.delivery.properties.headers.get(headers.PARKED)
        here, _, number = place.partition("-") if isinstance(place, str) else ("", "", "")
        return int(number) if here == self._here and number.isdecimal() and len(number) < 20 else 0

    def _prune(self, now: float) -> None:
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_SECONDS
            waiting = ((key, line) for key, line in self.lines.items())
            self.lines = {key: line for key, line in waiting if line.every.seconds(1 << 64, now) is not None}


def _key(command: Write) -> tuple[str, str]:
    return command.collection, command.delivery.lane


_REACHED = "the collection's rate limit in the store is reached"


class Throttles:
    """Collections whose rate limit in the store is reached, each until a time on the monotonic clock."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}

    def close(self, collection: str, seconds: float) -> None:
        now = time.monotonic()
        self.until = {name: until for name, until in self.until.items() if until > now}
        self.until[collection] = max(self.until.get(collection, 0.0), now + seconds)

    def of(self, collection: str) -> Throttled | None:
        """Return the error of a write to `collection`, with the time that is left; None if it may be written."""
        if not self.until:
            return None
        seconds = self.until.get(collection, 0.0) - time.monotonic()
        if seconds > 0:
            return Throttled(_REACHED, retry_after_seconds=seconds)
        self.until.pop(collection, None)
        return None
