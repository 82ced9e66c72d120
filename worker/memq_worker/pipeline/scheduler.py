"""Choice of the next collection and lane to write, under a limit on concurrent writes."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Protocol

from memq_worker.pipeline.round import Round


class Place:
    """One of the store's write slots, in use until released. Releasing twice has no effect."""

    __slots__ = ("_held", "_scheduler", "by_filter")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._held = True
        self.by_filter = False  # the write selects by filter

    def release(self) -> None:
        if self._held:
            self._held = False
            self._scheduler.released(by_filter=self.by_filter)


class Writer(Protocol):
    """The writes of one collection, as the scheduler sees them."""

    def waits(self, lane: str) -> bool:
        """Return True if the lane has commands waiting here."""
        ...

    def begin(self, lane: str, place: Place, *, next_in_line: bool, filter_allowed: bool) -> Mapping[str, int] | None:
        """Begin a write that the lane leads, and return the points that it costs each lane.

        Return None when nothing can begin now. `next_in_line`: the write follows one that has just ended.
        `filter_allowed`: it may select by filter, which `place` has to be told.
        """
        ...


class Scheduler:
    """Starts writes: lanes take turns by the points that they write, and the collections of a lane one after the other.

    A write that waits for the store to come back, or for its next attempt, gives its place to another. Writes by filter
    may take long, so they have half of the places at most.

    limit: writes in flight over all collections.
    """

    def __init__(self, limit: int, turns: Round) -> None:
        self._free = limit
        self._free_for_filters = max(1, limit // 2)
        self._round = turns
        self._writers: dict[str, dict[Writer, None]] = {}  # by lane; the collection that waited longest first
        self._woken = False

    def waiting(self, lane: str, writer: Writer) -> None:
        """Take note that `writer` has something waiting in `lane`."""
        writers = self._writers.get(lane)
        if writers is None:
            self._writers[lane] = {writer: None}
            self._round.enter(lane)
        elif writer not in writers:
            writers[writer] = None
        if self._free > 0 and not self._woken:
            # After this turn of the event loop, so that everything that one read brought in gathers first.
            self._woken = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self.dispatch()

    def released(self, *, by_filter: bool = False) -> None:
        self._free += 1
        self._free_for_filters += by_filter
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._wake)

    def ended(self, place: Place) -> None:
        """Release the place of a write that has ended, and begin the next one at once."""
        self._woken = True  # no second wake-up for the release
        place.release()
        self._woken = False
        self.dispatch(next_in_line=True)

    def dispatch(self, *, next_in_line: bool = False) -> None:
        """Begin as many writes as may begin now."""
        while self._free > 0 and self._begin_one(next_in_line):
            pass

    def _begin_one(self, next_in_line: bool) -> bool:
        for lane in self._round.turns():
            begun = self._begin_for(lane.name, next_in_line)
            if begun is None:
                self._leave_if_empty(lane.name)
                continue
            writer, points = begun
            self._round.begin(lane.name)
            for name, number in points.items():
                self._round.charge(name, number)
                writers = self._writers.get(name)
                if writers is not None:
                    # Behind the other collections of its lane, or out of it.
                    writers.pop(writer, None)
                    if writer.waits(name):
                        writers[writer] = None
                    self._leave_if_empty(name)
            return True
        return False

    def _begin_for(self, lane: str, next_in_line: bool) -> tuple[Writer, Mapping[str, int]] | None:
        writers = self._writers[lane]
        gone = list(itertools.takewhile(lambda each: not each.waits(lane), writers))
        for writer in gone:
            del writers[writer]
        place = Place(self)
        self._free -= 1
        for writer in writers:
            if not writer.waits(lane):
                continue
            allowed = self._free_for_filters > 0
            points = writer.begin(lane, place, next_in_line=next_in_line, filter_allowed=allowed)
            if points is not None:
                self._free_for_filters -= place.by_filter
                return writer, points
        self._free += 1
        return None

    def _leave_if_empty(self, lane: str) -> None:
        if not self._writers[lane]:
            del self._writers[lane]
            self._round.leave(lane)
