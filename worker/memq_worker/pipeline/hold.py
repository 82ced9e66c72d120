import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from memq_amqp.backoff import doubled

from memq_worker.errors import Outage, WorkerError
from memq_worker.pipeline.diagnosis import Diagnosis
from memq_worker.pipeline.parking import ParkedMessages, Throttles
from memq_worker.pipeline.ports import Observer
from memq_worker.pipeline.window import Window

logger = logging.getLogger(__name__)

T = TypeVar("T")
HandedBack = Literal["none", "suspects", "all"]

# The size of a question that only finds out whether calls get through. Writes go first, those by filter last.
QUESTION = 1e18

_ENOUGH = 16  # calls at a time that have got through: the store is as it was before
_MOST_PASSED_OVER = 64  # calls that get through before the call that waited longest has its turn, whatever its size


class Abandoned(Exception):
    """The hold ended because nobody waits for its result any more: it is handed back, or the channel is gone."""


@dataclass(slots=True)
class Reins:
    """What the worker tells all its holds: release every held call, or those of suspects alone."""

    stopping: bool = False
    handing_back: HandedBack = "none"


class Hold:
    """Waits out an outage: the same call again, with backoff, until it gets through. Spends no attempts.

    Held messages stay unacknowledged. One call at a time tries, the smallest first. When it gets through two may try,
    when both do four, and so on, so that a store that has just come back is not met by everything that has gathered.

    catches: the outages that are waited out here; others pass. scope: the collection, "" for the whole store.
    """

    def __init__(
        self,
        observer: Observer,
        *,
        catches: type[Outage] = Outage,
        scope: str = "",
        reins: Reins | None = None,
        first_seconds: float = 0.2,
        most_seconds: float = 5.0,
    ) -> None:
        self._observer = observer
        self._catches = catches
        self._scope = scope
        self._reins = Reins() if reins is None else reins
        self._first_seconds = first_seconds
        self.most_seconds = most_seconds
        self.error: Outage | None = None  # why calls are held; None while they are not
        self._since = 0.0
        self._failures = 0
        self._not_before = 0.0
        self.limit: int | None = None  # of calls that may try at a time; None: as many as come
        self._trying = 0
        self._callers = 0
        self._waiting: list[_Waiter] = []
        self._pausing: set[_Waiter] = set()
        self._number = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self.began = asyncio.Event()
        self.passes = 0  # calls that got through after an outage

    @property
    def seconds(self) -> float:
        """How long this hold has lasted; 0 while nothing is held."""
        return time.monotonic() - self._since if self.error is not None else 0.0

    def stop(self) -> None:
        """Every held call is abandoned now, and every later one at its first outage."""
        self._reins.stopping = True
        self._admit()

    def hand_back(self, which: HandedBack) -> None:
        """Abandons these held calls, and later ones at their first outage, until told otherwise."""
        self._reins.handing_back = which
        self._admit()

    def look_again(self) -> None:
        """Abandons the held calls that have become unwanted."""
        self._admit()

    def keeps(self, alone: bool) -> bool:
        """Return True if failed writes are held here and not released."""
        back = self._reins.handing_back
        return not self._reins.stopping and back != "all" and not (alone and back == "suspects")

    async def through(
        self, call: Callable[[], Awaitable[T]], wanted: Callable[[], bool], size: float = 0, met: Outage | None = None
    ) -> T:
        """The result of `call`. Raises Abandoned once stopped or unwanted, and whatever else `call` raises.

        Of the calls that wait for their turn the one of the least `size` is first. A call that has been passed over too
        often is next, so a store that comes and goes postpones no call for ever. met: the outage that the call has met
        before, while nothing was held.
        """
        self._callers += 1
        try:
            if met is None and self.limit is None:
                try:
                    return await call()
                except self._catches as error:
                    met = error
            if met is not None:
                self._met(met, in_turn=False)
                if not wanted():
                    raise Abandoned from met
            return await self._in_turn(call, wanted, size)
        finally:
            self._callers -= 1
            if not self._callers:
                # Nobody asks the store any more, so nobody would notice that it is back.
                self._over()

    async def pause(self, seconds: float, wanted: Callable[[], bool]) -> None:
        """Waits. Raises Abandoned as soon as stopped or unwanted."""
        waiter = _Waiter(0, next(self._number), wanted)
        self._pausing.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter.admitted
        except TimeoutError:
            return
        finally:
            self._pausing.discard(waiter)

    async def _in_turn(self, call: Callable[[], Awaitable[T]], wanted: Callable[[], bool], size: float) -> T:
        while True:
            await self._turn(size, wanted)
            try:
                result = await call()
            except self._catches as error:
                self._met(error, in_turn=True)
                if not wanted():
                    raise Abandoned from error
            except WorkerError:
                self._passed()
                raise
            else:
                self._passed()
                return result
            finally:
                self._trying -= 1
                self._admit()

    async def _turn(self, size: float, wanted: Callable[[], bool]) -> None:
        waiter = _Waiter(size, next(self._number), wanted, self.passes)
        heapq.heappush(self._waiting, waiter)
        self._admit()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                heapq.heapify(self._waiting)
            elif waiter.admitted.done() and not waiter.admitted.cancelled() and not waiter.admitted.exception():
                self._trying -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        """Lets as many try as may now."""
        unwanted = [w for w in (*self._waiting, *self._pausing) if self._reins.stopping or not w.wanted()]
        for waiter in unwanted:
            if not waiter.admitted.done():
                waiter.admitted.set_exception(Abandoned())
        if unwanted:
            self._waiting = [w for w in self._waiting if w not in unwanted]
            heapq.heapify(self._waiting)
        seconds = self._not_before - time.monotonic()
        if self.error is not None and seconds > 0:
            if self._waiting and self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up)
            return
        while self._waiting and (self.limit is None or self._trying < self.limit):
            waiter = self._next()
            if not waiter.admitted.done():
                self._trying += 1
                waiter.admitted.set_result(None)

    def _next(self) -> "_Waiter":
        oldest = min(self._waiting, key=lambda waiter: waiter.passes)
        if self.passes - oldest.passes < _MOST_PASSED_OVER:
            return heapq.heappop(self._waiting)
        self._waiting.remove(oldest)
        heapq.heapify(self._waiting)
        return oldest

    def _time_is_up(self) -> None:
        self._timer = None
        self._admit()

    def _met(self, error: Outage, *, in_turn: bool) -> None:
        begins = self.error is None
        if begins or in_turn:
            # Of many that were under way when the store went away only the first counts for the backoff.
            self._failures += 1
            seconds = doubled(self._failures, self._first_seconds, self.most_seconds)
            self._not_before = time.monotonic() + seconds + random.uniform(0, self._first_seconds)
        if error.retry_after_seconds is not None:
            self._not_before = max(self._not_before, time.monotonic() + error.retry_after_seconds)
        self.error = error
        self.limit = 1
        if begins:
            self._since = time.monotonic()
            self.began.set()
            if self._scope:
                fields = {"collection": self._scope, "code": error.code.value, "reason": error.message}
                logger.warning("collection unavailable, writes held", extra=fields)
            else:
                self._observer.held(True)
                logger.warning(
                    "store unavailable, writes held", extra={"code": error.code.value, "reason": error.message}
                )

    def _passed(self) -> None:
        self.passes += 1
        self._release()
        if self.limit is not None:
            self.limit += 1
            if self.limit > _ENOUGH:
                self._over()

    def _over(self) -> None:
        self._release()
        self.limit = None
        self._failures = 0

    def _release(self) -> None:
        if self.error is not None:
            self.error = None
            self.began.clear()
            held_seconds = round(time.monotonic() - self._since, 3)
            if self._scope:
                logger.info("collection available", extra={"collection": self._scope, "held_seconds": held_seconds})
            else:
                self._observer.held(False)
                logger.info("store available, writes resumed", extra={"held_seconds": held_seconds})


@dataclass(frozen=True, slots=True)
class Holds:
    """Reasons to wait, shared by all collections: the store, throttles, and messages parked before."""

    store: Hold
    reins: Reins
    diagnosis: Diagnosis
    window: Window
    throttles: Throttles = field(default_factory=Throttles)
    parked: ParkedMessages = field(default_factory=ParkedMessages)


class _Waiter:
    def __init__(self, size: float, number: int, wanted: Callable[[], bool], passes: int = 0) -> None:
        self._place = (size, number)
        self.passes = passes  # calls that had got through when it began to wait
        self.wanted = wanted
        self.admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __lt__(self, other: "_Waiter") -> bool:
        return self._place < other._place
