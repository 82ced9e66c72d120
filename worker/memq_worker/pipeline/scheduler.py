"""Choice of the next lane, by deficit round robin, and collection to write, under a limit on concurrent writes."""

import asyncio
import itertools
import math
import time
from collections.abc import Mapping
from typing import Protocol

# After a change of the leading lane: longer than a sender pauses who waits for each answer.
_SMALL_SECONDS = 1.0


class Lane:
    """The scheduler's account of one lane. `credit` counts points: what the lane may still write in this round."""

    __slots__ = ("active", "credit", "name", "weight")

    def __init__(self, name: str, weight: float, credit: float) -> None:
        self.name = name
        self.weight = weight
        self.credit = credit
        self.active = False


class Round:
    """Shares the store among lanes by points: per round each lane may write `quantum` points times its weight.

    A lane that had nothing waiting goes to the front of the round. It keeps what it owes: a lane that wrote more than
    its share waits for the next round, however often it runs empty in between.

    quantum: points per round of a lane with weight 1.   weights: by lane; other lanes have weight 1.
    """

    def __init__(self, quantum: int, weights: Mapping[str, float] | None = None) -> None:
        self._quantum = quantum
        self._own = dict(weights or {})
        self._weights = self._own
        self._lanes: dict[str, Lane] = {}
        self._order: list[Lane] = []

    def __len__(self) -> int:
        return len(self._order)

    def lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            weight = self._weights.get(name, 1.0)
            lane = self._lanes[name] = Lane(name, weight, self._quantum * weight)
        return lane

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Change the weights, by lane, of lanes that are there and of lanes to come; others keep their first ones."""
        self._weights = {**self._own, **weights}
        for lane in self._lanes.values():
            lane.weight = self._weights.get(lane.name, 1.0)

    def enter(self, name: str) -> None:
        """Put a lane that has something waiting at the front. No effect on a lane that is in the round."""
        lane = self.lane(name)
        if not lane.active:
            lane.active = True
            self._order.insert(0, lane)

    def leave(self, name: str) -> None:
        """Take a lane that has nothing waiting out of the round."""
        lane = self.lane(name)
        if lane.active:
            lane.active = False
            self._order.remove(lane)

    def forget(self, name: str) -> None:
        """Drop a lane that no longer exists."""
        self.leave(name)
        self._lanes.pop(name, None)

    def turns(self) -> list[Lane]:
        """Lanes in the order in which they may write now: those with credit, then those that wait for a new round."""
        if len(self._order) == 1:
            return self._order[:]
        return sorted(self._order, key=self._rounds_left)

    def _rounds_left(self, lane: Lane) -> int:
        return 0 if lane.credit > 0 else 1 + math.floor(-lane.credit / (self._quantum * lane.weight))

    def begin(self, name: str) -> None:
        """Give a lane its turn: begin new rounds until it has credit, and move it to the back."""
        lane = self.lane(name)
        for _ in range(self._rounds_left(lane)):
            for each in self._lanes.values():
                share = self._quantum * each.weight
                each.credit = min(each.credit + share, share)
        if lane.active:
            self._order.remove(lane)
            self._order.append(lane)

    def charge(self, name: str, points: int) -> None:
        """Count points that a lane has begun to write, at least one."""
        self.lane(name).credit -= max(points, 1)


class Place:
    """One of the store's write slots, in use until released. Releasing twice has no effect."""

    __slots__ = ("_held", "_scheduler", "by_filter", "small")

    def __init__(self, scheduler: "Scheduler", *, small: bool = False) -> None:
        """small: the write takes a part of a full batch at most, since other lanes write as well."""
        self._scheduler = scheduler
        self._held = True
        self.small = small
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
    may take long, so they have half of the places at most. While lanes alternate, writes are small: a write waits until
    the store has done those before it.

    limit: writes in flight over all collections.
    """

    def __init__(self, limit: int, turns: Round) -> None:
        self._free = limit
        self._free_for_filters = max(1, limit // 2)
        self._round = turns
        self._writers: dict[str, dict[Writer, None]] = {}  # by lane; the collection that waited longest first
        self._woken = False
        self._leader = ""  # the lane of the latest write
        self._small_until = 0.0  # on the monotonic clock

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
            started = self._begin_for(lane.name, next_in_line)
            if started is None:
                self._leave_if_empty(lane.name)
                continue
            writer, points = started
            if lane.name != self._leader:
                self._small_until = time.monotonic() + _SMALL_SECONDS if self._leader else 0.0
                self._leader = lane.name
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
        finished = list(itertools.takewhile(lambda each: not each.waits(lane), writers))
        for writer in finished:
            del writers[writer]
        place = Place(self, small=time.monotonic() < self._small_until)
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
