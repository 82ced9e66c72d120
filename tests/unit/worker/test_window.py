from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import Outage
from memq_worker.pipeline import diagnosis, window
from memq_worker.pipeline.diagnosis import Diagnosis
from memq_worker.pipeline.window import HeldLimits, Share, Window
from tests.unit.worker.fakes import FakeStore

AWAY = Outage(ErrorCode.STORE_UNAVAILABLE, "away", away=True)
LIMITS = HeldLimits(64, 4000.0, 60.0)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(window, "time", clock)
    monkeypatch.setattr(diagnosis, "time", clock)
    return clock


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def asked(store: FakeStore) -> Diagnosis:
    return Diagnosis(store, 1.0)


@pytest.fixture
def shares(clock: Clock, asked: Diagnosis) -> Window:
    return Window(LIMITS, asked)


def none(_: str) -> int:
    return 0


async def test_all_held_and_slow_collections_together_keep_a_half(shares: Window) -> None:
    assert shares.share == Share(64, 4000)
    for number in range(2):
        shares.held(f"held{number}")
    assert shares.share == Share(64, 4000)
    for number in range(30):
        assert await shares.is_slow(f"slow{number}", 1.0)
        assert shares.share is not None
        assert shares.share.messages * (3 + number) <= 128
        assert shares.share.size * (3 + number) <= 8000.1
    for number in range(300):
        shares.held(f"many{number}")
    assert shares.share is not None
    assert shares.share.messages == 1


async def test_a_collection_that_is_written_counts_no_longer(shares: Window, clock: Clock) -> None:
    for number in range(4):
        shares.held(f"c{number}")
    assert await shares.is_slow("c4", 1.0)
    shares.wrote("c0", 3.0)
    shares.wrote("c1", 0.1)
    shares.wrote("c4", 3.0)  # applied, and slow
    assert shares.share is not None
    assert shares.share.messages == 42
    shares.wrote("c4", 0.1)
    assert shares.share == Share(64, 4000)
    shares.held("c5")
    clock.now += 1000
    shares.held("c6")
    assert shares.share == Share(64, 4000), "those that nobody writes any more are forgotten"


async def test_a_store_that_does_not_answer_makes_no_collection_slow(shares: Window, store: FakeStore) -> None:
    store.failures = [AWAY]
    assert not await shares.is_slow("docs", 1.0)
    assert shares.slow("docs", none) is None
    assert await shares.is_slow("docs", 1.0)
    assert shares.slow("docs", none) is not None


async def test_beside_a_quick_collection_any_number_is_parked_and_otherwise_a_window_each_second(
    shares: Window, asked: Diagnosis, clock: Clock
) -> None:
    def parked() -> int:
        found = 0
        while found < 1000 and shares.slow("docs", none) is not None:
            shares.moved("docs", 1)
            found += 1
        return found

    await shares.is_slow("docs", 1.0)
    assert parked() == 4 * 64
    await shares.is_slow("docs", 1.0)
    assert parked() == 4 * 64
    asked.written["docs"] = time.monotonic()
    assert parked() == 0, "it is no other collection"
    asked.written["other"] = time.monotonic()
    assert parked() == 1000
    await shares.is_slow("other", 1.0)
    shares.moved("other", 0)
    assert parked() <= 4 * 64, "a collection that is slow too is no reason"
    clock.now += 1000
    assert shares.slow("docs", none) is None, "long ago"


async def test_a_message_is_parked_for_as_long_as_those_before_it_may_take(shares: Window) -> None:
    await shares.is_slow("docs", 0.25)
    error = shares.slow("docs", lambda name: 80 if name == "docs" else 0)
    assert error is not None
    assert error.retry_after_seconds == 20


async def test_slow_writes_give_up_their_places_and_not_too_many(
    shares: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "SLOW_SECONDS", 0)
    released: list[int] = []
    found, given_up = asyncio.Event(), asyncio.Event()

    def watch(number: int) -> Any:
        def release() -> None:
            released.append(number)
            given_up.set()

        found.clear()
        return shares.watch(f"slow{number}", 1, release, found.set, time.monotonic())

    watches: list[Any] = []
    for number in range(20):
        watches.append(watch(number))
        async with asyncio.timeout(5):
            await found.wait()
    assert released == list(range(16))
    given_up.clear()
    watches[0].end()
    async with asyncio.timeout(5):
        await given_up.wait()
    assert len(released) == 17
    for each in watches:
        each.end()


async def test_in_strict_order_no_write_is_watched(asked: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "SLOW_SECONDS", 0)
    shares = Window(HeldLimits(), asked)
    called: list[int] = []
    watch = shares.watch("docs", 1, None, lambda: called.append(1), time.monotonic())
    for _ in range(10):
        await asyncio.sleep(0)
    watch.end()
    assert not called
    assert shares.share is None
