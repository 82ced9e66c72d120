from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import DependencyError, Outage
from memq_worker.pipeline.hold import Abandoned, Hold
from tests.support.until import until
from tests.unit.worker.fakes import Watch

AWAY = Outage(ErrorCode.STORE_UNAVAILABLE, "away")


@dataclass
class Flaky:
    """A store that is away until told otherwise, and remembers how many asked it at once."""

    away: bool = True
    error: Exception = AWAY
    now: int = 0
    most: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def call(self, size: int = 0) -> int:
        self.now += 1
        self.most.append(self.now)
        self.order.append(size)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            if self.away:
                raise self.error
            return size
        finally:
            self.now -= 1


def held(hold: Hold, store: Flaky, *sizes: int) -> list[asyncio.Task[int]]:
    return [
        asyncio.create_task(hold.through(lambda size=size: store.call(size), wanted=lambda: True, size=size))
        for size in sizes
    ]


async def failed(store: Flaky, count: int) -> None:
    await until(lambda: len(store.most) >= count)


async def test_while_held_one_asks_at_a_time_and_after_it_two_then_four() -> None:
    store, hold = Flaky(), Hold(Watch(), first_seconds=0.01, most_seconds=0.02)
    tasks = held(hold, store, *range(40))
    await failed(store, 45)
    assert max(store.most[40:]) == 1, "all that were under way failed; from then on one at a time tries"
    store.gate, store.away = asyncio.Event(), False
    for together in (1, 2, 4, 8):
        await until(lambda expected=together: store.now == expected)
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.now == together, "no more than these"
        through, store.gate = store.gate, asyncio.Event()
        through.set()
    store.gate.set()
    await asyncio.gather(*tasks)
    assert hold.error is None


async def test_the_smallest_tries_first() -> None:
    store, hold = Flaky(), Hold(Watch(), first_seconds=0.01, most_seconds=0.02)
    tasks = held(hold, store, 500, 3, 40)
    await failed(store, 3)
    store.away = False
    await asyncio.gather(*tasks)
    assert store.order[3] == 3


async def test_a_large_call_has_its_turn_although_smaller_ones_keep_coming() -> None:
    """The store fails every fifth call, so the hold never ends by itself."""
    hold = Hold(Watch(), first_seconds=0.001, most_seconds=0.001)
    done: list[float] = []

    async def call(size: float) -> None:
        fails = len(done) % 5 == 0
        done.append(size)
        await asyncio.sleep(0)
        if fails:
            raise AWAY

    async def small() -> None:
        while not begun.done():
            await hold.through(lambda: call(1), wanted=lambda: True, size=1)

    begun = asyncio.create_task(hold.through(lambda: call(math.inf), wanted=lambda: True, size=math.inf))
    await asyncio.sleep(0)
    streams = [asyncio.create_task(small()) for _ in range(8)]
    async with asyncio.timeout(20):
        await asyncio.gather(begun, *streams)
    assert done.count(math.inf) > 1


async def test_what_the_store_asks_for_is_waited_however_long_it_is() -> None:
    asked = Outage(ErrorCode.OVERLOADED, "slow down", retry_after_seconds=0.3)
    store, hold = Flaky(error=asked), Hold(Watch(), first_seconds=0.001, most_seconds=0.001)
    (task,) = held(hold, store, 1)
    await failed(store, 1)
    store.away = False
    started = asyncio.get_running_loop().time()
    await task
    assert asyncio.get_running_loop().time() - started >= 0.25


async def test_a_store_that_refuses_is_back() -> None:
    watch = Watch()
    store, hold = Flaky(), Hold(watch, first_seconds=0.01, most_seconds=0.01)
    tasks = held(hold, store, 1, 2)
    await failed(store, 2)
    store.error = DependencyError(ErrorCode.STORE_ERROR, "odd")
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [DependencyError, DependencyError]
    assert watch.holds == [True, False]


async def test_handing_back_ends_what_waits_and_what_fails_from_then_on() -> None:
    store, hold = Flaky(), Hold(Watch(), first_seconds=60, most_seconds=60)
    alone = asyncio.create_task(hold.through(store.call, wanted=lambda: hold.keeps(alone=True)))
    other = asyncio.create_task(hold.through(store.call, wanted=lambda: hold.keeps(alone=False)))
    await failed(store, 2)
    hold.hand_back("suspects")
    with pytest.raises(Abandoned):
        await alone
    assert not other.done()
    hold.hand_back("all")
    with pytest.raises(Abandoned):
        await other
    with pytest.raises(Abandoned):
        await hold.through(store.call, wanted=lambda: hold.keeps(alone=False))


async def test_a_cancelled_turn_is_given_to_the_next() -> None:
    store, hold = Flaky(), Hold(Watch(), first_seconds=0.01, most_seconds=0.01)
    tasks = held(hold, store, 1, 2, 3)
    await failed(store, 3)
    store.gate = asyncio.Event()
    await until(lambda: store.now == 1)
    for task in tasks[:2]:
        task.cancel()
    store.away = False
    store.gate.set()
    assert await tasks[2] == 3
