from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import ErrorCode, headers
from memq_schemas.properties import Properties
from memq_worker.errors import CollectionOutage
from memq_worker.pipeline import parking
from memq_worker.pipeline.decode.bodies import Limits, decode
from memq_worker.pipeline.outcome import Retry, tier
from memq_worker.pipeline.parking import ParkedMessages
from tests.unit.worker.fakes import FakeLink, delivery, upsert

if TYPE_CHECKING:
    from memq_worker.pipeline.command import Write

AWAY = CollectionOutage(ErrorCode.STORE_UNAVAILABLE, "away")
LIMITS = Limits(max_body_bytes=100_000, max_points=100)
IN_HAND = 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(parking, "time", clock)
    return clock


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def write(tag: int, *, by_filter: bool, place: str = "", lane: str = "live") -> Write:
    body = {"filter": {"must": [{"has_id": [tag]}]}} if by_filter else upsert(tag)
    given = delivery(FakeLink(), tag, body, "delete.docs" if by_filter else "upsert.docs")
    given.lane = lane
    given.properties = Properties(content_type=headers.JSON, headers={headers.PARKED: place} if place else {})
    command: Any = decode(given, LIMITS)
    return command


@dataclass
class Worker:
    """One worker, its queue and its retry tiers, in simulated time."""

    clock: Clock
    parked: ParkedMessages = field(default_factory=ParkedMessages)
    queue: deque[tuple[int, bool, str]] = field(default_factory=deque[tuple[int, bool, str]])
    tiers: list[tuple[float, int, tuple[int, bool, str]]] = field(default_factory=list)
    hand: list[int] = field(default_factory=list)
    applied: list[int] = field(default_factory=list)
    held_since: float | None = None
    numbers: Any = field(default_factory=itertools.count)

    def work(self) -> None:
        while self.tiers and self.tiers[0][0] <= self.clock.now:
            self.queue.append(heapq.heappop(self.tiers)[2])
        if self.held_since is None:
            self.applied += self.hand
            self.hand.clear()
        while self.queue:
            self.take(*self.queue.popleft())

    def take(self, tag: int, by_filter: bool, place: str) -> None:
        command = write(tag, by_filter=by_filter, place=place)
        outcome = self.parked.arrived(command)
        if self.held_since is not None and len(self.hand) >= IN_HAND:
            seconds = min(120.0, max(5.0, self.clock.now - self.held_since))
            outcome = Retry(tier(seconds), AWAY, spends=False)
        if outcome is not None:
            found = self.parked.park(command, outcome)
            entry = (tag, by_filter, found.place)
            heapq.heappush(self.tiers, (self.clock.now + found.seconds, next(self.numbers), entry))
        elif self.held_since is not None:
            self.hand.append(tag)
        else:
            self.applied.append(tag)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(["upsert"] * 4 + ["filter"] * 2 + ["hold", "over"])),
        min_size=5,
        max_size=60,
    )
)
def test_a_write_by_filter_keeps_its_place_however_often_its_neighbours_are_parked(
    steps: list[tuple[int, str]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(parking, "time", clock)
        worker = Worker(clock)
        sent: list[tuple[int, bool]] = []
        for seconds, step in steps:
            for _ in range(seconds):
                clock.now += 1
                worker.work()
            if step in ("hold", "over"):
                worker.held_since = clock.now if step == "hold" else None
            else:
                tag = len(sent) + 1
                sent.append((tag, step == "filter"))
                worker.queue.append((tag, step == "filter", ""))
            worker.work()
        worker.held_since = None
        for _ in range(2000):
            clock.now += 1
            worker.work()
        assert sorted(worker.applied) == [tag for tag, _ in sent], "every write is applied once"
        for tag in (tag for tag, by_filter in sent if by_filter):
            place = worker.applied.index(tag)
            assert set(worker.applied[:place]) == set(range(1, tag))


def park(line: ParkedMessages) -> str:
    command = write(1, by_filter=True)
    assert line.arrived(command) is None
    return line.park(command, Retry(5, AWAY, spends=False)).place


def test_lanes_and_collections_do_not_wait_for_each_other(clock: Clock) -> None:
    line = ParkedMessages()
    park(line)
    assert line.arrived(write(2, by_filter=False)) is not None
    assert line.arrived(write(3, by_filter=False, lane="bulk")) is None
    assert line.arrived(write(4, by_filter=True, lane="bulk")) is None


def test_a_parked_write_that_another_worker_received_is_awaited_for_half_a_minute(clock: Clock) -> None:
    line = ParkedMessages()
    park(line)
    clock.now += 5 + 29
    assert line.arrived(write(2, by_filter=False)) is not None
    clock.now += 2
    assert line.arrived(write(3, by_filter=False)) is None


def test_what_waits_is_forgotten_once_it_is_back(clock: Clock) -> None:
    line = ParkedMessages()
    for number in range(2, 2000):
        command = write(number, by_filter=number % 2 == 0)
        line.arrived(command)
        place = line.park(command, Retry(5, AWAY, spends=False)).place
        clock.now += 5
        assert line.arrived(write(number, by_filter=number % 2 == 0, place=place)) is None
    (only,) = line.lines.values()
    assert len(only.every) <= 2


@pytest.mark.parametrize("place", ["", "x", "-", "00000000-1", "5-5-5", "\ud800-1"])
def test_a_place_that_this_worker_did_not_give_is_none(clock: Clock, place: str) -> None:
    line = ParkedMessages()
    park(line)
    assert line.arrived(write(2, by_filter=False, place=place)) is not None
