from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_worker.pipeline.scheduler import Round, Scheduler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq_worker.pipeline.scheduler import Place

QUANTUM = 100


class Collection:
    """One collection with messages of some points in some lanes; a write takes one message."""

    def __init__(self, scheduler: Scheduler, log: list[tuple[str, int]], name: str = "docs") -> None:
        self.name = name
        self.flying: deque[Place] = deque()
        self.messages: dict[str, deque[int]] = {}
        self.limit = 100
        self.by_filter = False
        self._scheduler = scheduler
        self._log = log

    def add(self, lane: str, *points: int) -> None:
        for number in points:
            self.messages.setdefault(lane, deque()).append(number)
            self._scheduler.waiting(lane, self)

    def waits(self, lane: str) -> bool:
        return bool(self.messages.get(lane))

    def begin(self, lane: str, place: Place, *, next_in_line: bool, filter_allowed: bool) -> Mapping[str, int] | None:
        if len(self.flying) >= self.limit or (self.by_filter and not filter_allowed):
            return None
        place.by_filter = self.by_filter
        points = self.messages[lane].popleft()
        self.flying.append(place)
        self._log.append((lane, points))
        return {lane: points}

    def finish(self) -> None:
        self._scheduler.ended(self.flying.popleft())


def scheduler(limit: int = 1, **weights: float) -> Scheduler:
    return Scheduler(limit, Round(QUANTUM, weights))


async def drained(collection: Collection) -> None:
    await asyncio.sleep(0)
    while collection.flying:
        collection.finish()


async def test_lanes_share_by_points_whatever_the_size_of_their_messages() -> None:
    log: list[tuple[str, int]] = []
    collection = Collection(scheduler(), log)
    collection.add("large", *[50] * 100)
    collection.add("small", *[1] * 5000)
    await drained(collection)
    shares: Counter[str] = Counter()
    for lane, points in log[: len(log) // 2]:
        shares[lane] += points
    assert abs(shares["large"] - shares["small"]) <= 2 * QUANTUM


async def test_weights_are_shares_of_points() -> None:
    log: list[tuple[str, int]] = []
    collection = Collection(scheduler(heavy=3.0), log)
    collection.add("heavy", *[10] * 300)
    collection.add("light", *[10] * 300)
    await drained(collection)
    first = Counter(lane for lane, _ in log[:200])
    assert 140 <= first["heavy"] <= 160


async def test_a_lane_that_was_empty_goes_first() -> None:
    log: list[tuple[str, int]] = []
    collection = Collection(scheduler(), log)
    for n in range(20):
        collection.add(f"noisy-{n}", *[100] * 5)
    await asyncio.sleep(0)
    for _ in range(7):
        collection.finish()
    collection.add("quiet", 1)
    before = len(log)
    collection.finish()
    assert log[before] == ("quiet", 1)
    await drained(collection)


async def test_a_lane_that_runs_empty_again_and_again_does_not_get_more_than_its_share() -> None:
    log: list[tuple[str, int]] = []
    collection = Collection(scheduler(), log)
    collection.add("steady", *[100] * 400)
    await asyncio.sleep(0)
    for _ in range(200):
        if not collection.waits("pushy"):
            collection.add("pushy", 400)
        collection.finish()
    shares: Counter[str] = Counter()
    for lane, points in log:
        shares[lane] += points
    assert shares["pushy"] <= shares["steady"] * 1.1 + 400
    collection.messages.clear()
    await drained(collection)


async def test_no_more_writes_than_the_store_takes_at_a_time() -> None:
    log: list[tuple[str, int]] = []
    shared = scheduler(limit=3)
    collections = [Collection(shared, log, str(n)) for n in range(10)]
    for collection in collections:
        collection.add("live", 1)
    await asyncio.sleep(0)
    assert len(log) == 3
    collections[0].flying[0].release()
    collections[0].flying[0].release()
    await asyncio.sleep(0)
    assert len(log) == 4, "a write that gives its place to another does so once"


async def test_writes_by_filter_have_half_of_the_places() -> None:
    log: list[tuple[str, int]] = []
    shared = scheduler(limit=4)
    collections = [Collection(shared, log, str(n)) for n in range(8)]
    for collection in collections:
        collection.by_filter = collection.name < "6"
        collection.add("live", 1)
    await asyncio.sleep(0)
    assert [bool(collection.flying) for collection in collections] == [True, True, *[False] * 4, True, True]
    collections[0].finish()
    assert collections[2].flying, "the place of a write by filter is for the next one"
    collections[6].finish()
    assert sum(len(collection.flying) for collection in collections[:6]) == 2


async def test_a_collection_that_can_begin_nothing_does_not_stop_its_lane() -> None:
    log: list[tuple[str, int]] = []
    shared = scheduler(limit=4)
    stuck, free = Collection(shared, log), Collection(shared, log)
    stuck.limit = 0
    stuck.add("live", 1)
    free.add("live", 2)
    await asyncio.sleep(0)
    assert log == [("live", 2)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 300)), max_size=60),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_everything_that_waits_is_written_once(adds: list[tuple[str, int, int]], limit: int, each: int) -> None:
    async def run() -> None:
        log: list[tuple[str, int]] = []
        shared = scheduler(limit, a=0.2)
        collections = [Collection(shared, log, str(n)) for n in range(4)]
        for collection in collections:
            collection.limit = each
        for lane, which, points in adds:
            collections[which].add(lane, points)
        await asyncio.sleep(0)
        while any(collection.flying for collection in collections):
            assert sum(len(collection.flying) for collection in collections) <= limit
            next(collection for collection in collections if collection.flying).finish()
        assert Counter(log) == Counter((lane, points) for lane, _, points in adds)

    asyncio.run(run())


@pytest.mark.parametrize("number", [2, 100])
async def test_every_lane_gets_its_turn_within_a_round(number: int) -> None:
    log: list[tuple[str, int]] = []
    collection = Collection(scheduler(), log)
    for n in range(number):
        collection.add(f"lane-{n}", *[QUANTUM] * 3)
    await drained(collection)
    for start in range(0, 3 * number, number):
        assert len({lane for lane, _ in log[start : start + number]}) == number


class Sizes(Collection):
    """Notes which writes were to be small."""

    def __init__(self, scheduler: Scheduler, log: list[tuple[str, int]]) -> None:
        super().__init__(scheduler, log)
        self.small: list[bool] = []

    def begin(self, lane: str, place: Place, *, next_in_line: bool, filter_allowed: bool) -> Mapping[str, int] | None:
        self.small.append(place.small)
        return super().begin(lane, place, next_in_line=next_in_line, filter_allowed=filter_allowed)


async def test_writes_are_small_while_lanes_alternate_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("memq_worker.pipeline.scheduler.time.monotonic", lambda: clock[0])
    collection = Sizes(scheduler(), [])

    async def write(lane: str) -> bool:
        collection.add(lane, 1)
        await drained(collection)
        return collection.small[-1]

    # A lane alone, from the first write on, has full batches.
    assert [await write("bulk") for _ in range(3)] == [False, False, False]
    await write("live")
    assert [await write("bulk"), await write("bulk"), await write("live")] == [True, True, True]
    clock[0] += 1.1
    assert [await write("live"), await write("live")] == [False, False]


async def test_weights_of_the_settings_outlast_those_of_the_tenants() -> None:
    turns = Round(QUANTUM, {"bulk": 0.25})
    log: list[tuple[str, int]] = []
    collection = Collection(Scheduler(1, turns), log)
    turns.weigh({"t.acme": 1.0})
    collection.add("bulk", *[50] * 60)
    collection.add("live", *[50] * 60)
    await drained(collection)
    first = Counter(lane for lane, _ in log[:50])
    assert 3 <= first["live"] / first["bulk"] <= 5
