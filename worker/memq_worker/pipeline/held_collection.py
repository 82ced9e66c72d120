import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from memq_schemas import headers
from memq_schemas.topology import RETRY_SECONDS
from memq_worker.errors import CollectionOutage, DependencyError, Outage, StoreOutage, WorkerError
from memq_worker.pipeline.batch import WriteQueue
from memq_worker.pipeline.command import Write
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.diagnosis import REMEMBERED, too_slow
from memq_worker.pipeline.hold import QUESTION, Abandoned, Hold, Holds
from memq_worker.pipeline.outcome import Outcome, Release, Retry, tier, tier_within
from memq_worker.pipeline.ports import Observer
from memq_worker.pipeline.scheduler import Place
from memq_worker.pipeline.window import SLOW_SECONDS, Share, Watch

_PARK_SECONDS = 5.0
_MOST_PARKED_SECONDS = 120.0
_TRIES = 3

WriteCall = Callable[[list[Write]], Awaitable[Sequence[Outcome]]]
WriteAttempt = Callable[[], Awaitable[Sequence[Outcome]]]


class HeldCollection:
    """Writes to one collection, waiting while the store or this collection alone is held."""

    def __init__(
        self,
        collection: str,
        queue: WriteQueue,
        holds: Holds,
        observer: Observer,
        writes_in_flight: int,
        settle: Callable[[Delivery, Outcome], asyncio.Task[None]],
    ) -> None:
        self._collection = collection
        self._queue = queue
        self._store_hold = holds.store
        self._observer = observer
        self._reins = holds.reins
        self._hold: Hold | None = None  # since the collection failed for the first time
        self._diagnosis = holds.diagnosis
        self._window = holds.window
        self._writes_in_flight = writes_in_flight
        self._throttles = holds.throttles
        self._parked = holds.parked
        self._settle = settle
        self._writing: list[list[Write]] = []

    @property
    def error(self) -> Outage | None:
        """Why the collection is held; None while it is not."""
        return None if self._hold is None else self._hold.error

    def elsewhere(self, command: Write) -> Retry | None:
        """The outcome of an arriving write that has to wait in a retry tier; None if it may wait in its place."""
        parked, error = self._parked, self.error
        waiting = error is not None or parked.lines or self._throttles.until or self._window.slow_ones
        # A message that was parked before has its number.
        if not waiting and headers.PARKED not in command.delivery.properties.headers:
            command.delivery.place = next(parked.numbers)
            return None
        behind, share = parked.arrived(command), self._window.share
        if share is None:
            return None
        if (throttled := self._throttles.of(self._collection)) is not None:
            return Retry(tier(throttled.retry_after_seconds), throttled, spends=False)
        if error is not None and self._exceeds(share):
            return self._parking(error)
        slow = self._slow()
        if slow is None or command.delivery.alone or not self._exceeds(share):
            return behind
        self._window.moved(self._collection, 1)
        return slow

    def park(self, command: Write, outcome: Retry) -> asyncio.Task[None]:
        """Settle a write that waits in a retry tier because its collection is held or throttled."""
        return self._settle(command.delivery, self._parked.park(command, outcome))

    def park_behind(self, parked: Collection[Write], outcome: Retry) -> None:
        """Park the writes by filter that wait behind the parked ones, and all that waits behind a write by filter."""
        if self._window.limits.messages is None:
            return
        lanes = {command.delivery.lane for command in parked}
        begun = {command.delivery.lane for command in parked if command.ids is None}

        def unwanted(command: Write) -> bool:
            lane = command.delivery.lane
            if command.ids is None and lane in lanes:
                begun.add(lane)
            return lane in begun

        for command in self._queue.remove(unwanted):
            self.park(command, outcome)

    def abandoned(self, wanted: bool) -> Outcome:
        """The outcome of a write that is held no longer. wanted: the worker would still hold it."""
        error = self.error
        return Retry(RETRY_SECONDS[-1], error, spends=False) if wanted and error is not None else Release()

    def look_again(self) -> None:
        """Abandon the held calls that have become unwanted."""
        if self._hold is not None:
            self._hold.look_again()

    def _own_hold(self) -> Hold:
        if self._hold is None:
            self._hold = Hold(self._observer, catches=CollectionOutage, scope=self._collection, reins=self._reins)
        return self._hold

    @property
    def _held_seconds(self) -> float:
        return 0.0 if self._hold is None else self._hold.seconds

    async def back(self, wanted: Callable[[], bool]) -> None:
        """Return once the collection takes a write that changes nothing, or once unwanted."""

        async def ask() -> None:
            try:
                await self._diagnosis.ask(self._collection)
            except Outage as error:
                raise CollectionOutage.of(error) from error

        with suppress(Abandoned, WorkerError):
            await self._own_hold().through(ask, wanted, size=QUESTION)

    async def through(
        self, commands: list[Write], wanted: Callable[[], bool], write: WriteCall, place: Place
    ) -> Sequence[Outcome]:
        """The outcomes of `write`, called again until the store lets it through. Raises Abandoned and WorkerError.

        While the collection is held `commands` is shortened to what may stay unacknowledged. place: the write's, which
        it gives up if it is slow and no write by filter, for which other places are kept free.
        """
        by_filter = commands[0].ids is None
        size = math.inf if by_filter else sum(len(c.ids or ()) for c in commands)
        slow = False

        def kept() -> bool:
            return bool(commands) and wanted() and self._held_seconds < self._window.limits.seconds

        async def attempt() -> Sequence[Outcome]:
            nonlocal slow
            if slow:
                await self._answered()
            found = await self._written(commands, write, None if by_filter else place.release)
            if isinstance(found, Outage) and by_filter and too_slow(found):
                # Collection and store answered before this write began: it is this write that keeps them busy.
                if slow:
                    found = DependencyError(found.code, found.message, stage=found.stage)
                slow = True
            if isinstance(found, CollectionOutage):
                self._shed(commands, found)
            if isinstance(found, WorkerError):
                raise found
            return found

        self._writing.append(commands)
        try:
            return await self._held(attempt, wanted, kept, size)
        finally:
            self._writing.remove(commands)

    async def _held(
        self, attempt: WriteAttempt, wanted: Callable[[], bool], kept: Callable[[], bool], size: float
    ) -> Sequence[Outcome]:
        """The outcomes of an attempt, repeated while the collection or the store is held."""
        met: Outage | None = None
        if self._hold is None and self._store_hold.limit is None:
            try:
                return await attempt()
            except (StoreOutage, CollectionOutage) as error:
                met = error

        async def past_the_store() -> Sequence[Outcome]:
            nonlocal met
            first, met = met, None
            return await self._store_hold.through(attempt, wanted, size, first)

        failed = met if isinstance(met, CollectionOutage) else None
        met = None if failed is met else met
        return await self._own_hold().through(past_the_store, kept, size, failed)

    async def _answered(self) -> None:
        """Return once the collection has answered a write that changes nothing. Raises Outage."""
        began = time.monotonic()
        try:
            await self._diagnosis.ask(self._collection)
        except Outage as error:
            found = await self._diagnosis.of(error, self._collection, began)
            if isinstance(found, Outage):
                raise found from error
        except WorkerError:
            return  # a refusal is an answer

    async def _written(
        self, commands: list[Write], write: WriteCall, release: Callable[[], None] | None
    ) -> Sequence[Outcome] | WorkerError:
        """The outcomes of one write, or whose failure it is.

        A write that fails while the store answers is sent again before its messages are at fault: the connection may
        just have been replaced, or the store have come back.
        """
        for left in reversed(range(_TRIES)):
            began = time.monotonic()
            watches: list[Watch] = []
            timer = self._watched_later(watches, len(commands), release, began)
            try:
                outcomes = await write(commands)
            except Outage as error:
                outage = error
            else:
                self._wrote(began)
                return outcomes
            finally:
                timer.cancel()
                for watch in watches:
                    watch.end()
            found = await self._diagnosis.of(outage, self._collection, began)
            if not left or isinstance(found, Outage) or too_slow(found):
                return found
        raise AssertionError("the last write has returned")

    def _watched_later(
        self, watches: list[Watch], messages: int, release: Callable[[], None] | None, began: float
    ) -> asyncio.TimerHandle:
        """Add a watch of a write to `watches` once it takes long."""

        def watch() -> None:
            watches.append(self._window.watch(self._collection, messages, release, self._shed_slow, began))

        return asyncio.get_running_loop().call_later(SLOW_SECONDS, watch)

    def _wrote(self, began: float) -> None:
        """Note that a write has succeeded now."""
        now, written = time.monotonic(), self._diagnosis.written
        written.pop(self._collection, None)
        written[self._collection] = now
        if len(written) > REMEMBERED:
            del written[next(iter(written))]
        if self._window.slow_ones or self._window.held_ones:
            self._window.wrote(self._collection, now - began)

    def _exceeds(self, share: Share) -> bool:
        left = self._left(share)
        return len(self._queue) >= left.messages or self._queue.size >= left.size

    def _left(self, share: Share) -> Share:
        """Return the part of a share that the writes in flight leave to waiting commands."""
        messages = share.messages - sum(map(len, self._writing))
        if messages <= 0:
            return Share(0, 0)
        return Share(messages, share.size - sum(len(c.delivery.body) for writing in self._writing for c in writing))

    def _shed(self, commands: list[Write], error: WorkerError) -> None:
        """Park what a held collection may not keep unacknowledged, the newest messages first."""
        self._window.held(self._collection)
        share = self._window.share
        if share is None:
            return
        outcome = self._parking(error)
        # A suspect keeps every other suspect waiting while it is held.
        kept = 0 if commands[0].delivery.alone else max(1, share.messages // self._writes_in_flight)
        gone = commands[kept:]
        del commands[kept:]
        for command in gone:
            self.park(command, outcome)
        self.park_behind(gone, outcome)
        for command in self._queue.cut(*self._left(share)):
            self.park(command, outcome)

    def _shed_slow(self) -> None:
        """Park what a slow collection may not keep unacknowledged beside its writes in flight."""
        share, outcome = self._window.share, self._slow()
        if share is None or outcome is None:
            return
        gone = self._queue.cut(*self._left(share))
        for command in gone:
            self.park(command, outcome)
        self._window.moved(self._collection, len(gone))

    def _slow(self) -> Retry | None:
        """The outcome of a message that may not stay because the collection is slow; None if it may."""
        error = self._window.slow(self._collection, self._parked.waiting)
        if error is None:
            return None
        seconds = min(_MOST_PARKED_SECONDS, max(_PARK_SECONDS, error.retry_after_seconds))
        return Retry(tier_within(seconds), error, spends=False)

    def _parking(self, error: WorkerError) -> Retry:
        seconds = min(_MOST_PARKED_SECONDS, max(_PARK_SECONDS, self._held_seconds))
        return Retry(tier(seconds), error, spends=False)
