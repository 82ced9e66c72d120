from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from memq_worker.amqp.byte_pause import BytePause
from memq_worker.amqp.watch import Depth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memq_worker.amqp.prefetch import LaneBytes

KIB = 1024


@dataclass(eq=False)
class Lane:
    """A queue and its consumer, as the broker has them: at most `prefetch` bodies are unsettled since it began."""

    queue: str
    bodies: deque[int]
    prefetch: int
    broker: Broker
    account: LaneBytes = field(init=False)
    consuming: bool = False
    window: int = 0  # deliveries that the present consumer may still receive
    consumers: int = 0
    pauses: int = 0

    def renew_prefetch(self) -> int:
        return self.prefetch

    async def stop_consuming(self, timeout: float, why: str) -> None:
        self.pauses += self.consuming
        await asyncio.sleep(0)
        self.consuming = False

    async def resume_consuming(self, timeout: float, why: str) -> None:
        await asyncio.sleep(0)
        self.consuming, self.window = True, self.prefetch
        self.consumers += 1
        self.deliver()

    def deliver(self) -> None:
        while self.consuming and self.window and self.bodies:
            self.window -= 1
            size = self.bodies.popleft()
            self.broker.unsettled.append((self, size, self.consumers))
            self.broker.turns.append(self.queue)
            self.account.delivered(size)


class Broker:
    def __init__(self, most: int) -> None:
        self.unsettled: list[tuple[Lane, int, int]] = []  # lane, bytes, consumer
        self.turns: list[str] = []
        self.lanes: list[Lane] = []
        self.peak = 0
        self.problems: list[str] = []
        self.pause = BytePause(most, self.depth, 10.0, self.problems.append)

    async def depth(self, queue: str) -> Depth:
        await asyncio.sleep(0)
        return Depth(next(len(lane.bodies) for lane in self.lanes if lane.queue == queue), 1)

    async def open(self, queue: str, bodies: Iterable[int], prefetch: int, *, yields: bool = True) -> Lane:
        lane = Lane(queue, deque(bodies), prefetch, self)
        self.lanes.append(lane)
        lane.account = self.pause.add(lane, yields=yields)
        if not lane.account.paused:
            await lane.resume_consuming(10.0, "")
        await self.rest()
        return lane

    @property
    def held(self) -> int:
        return sum(size for _, size, _ in self.unsettled)

    async def rest(self) -> None:
        """Let everything happen that follows from what has happened."""
        for _ in range(30):
            await asyncio.sleep(0)
            assert self.pause.held == self.held
            self.peak = max(self.peak, self.held)

    async def settle(self, random: Random) -> None:
        lane, size, consumer = self.unsettled.pop(random.randrange(len(self.unsettled)))
        lane.account.settled(size)
        lane.window += consumer == lane.consumers
        lane.deliver()
        await self.rest()

    async def drain(self, random: Random) -> None:
        while self.unsettled:
            await self.settle(random)
        assert not any(lane.bodies for lane in self.lanes), "a lane waits for ever"
        assert self.problems == []
        self.pause.end()


@given(
    st.lists(st.tuples(st.integers(1, 64 * KIB), st.integers(0, 12), st.integers(1, 3)), min_size=1, max_size=12),
    st.integers(1, 256 * KIB),
    st.randoms(use_true_random=False),
)
def test_every_lane_is_emptied_within_the_bytes(lanes: list[tuple[int, int, int]], most: int, random: Random) -> None:
    async def emptied() -> None:
        broker = Broker(most)
        for number, (size, messages, prefetch) in enumerate(lanes):
            await broker.open(f"lane {number}", [size] * messages, prefetch)
        await broker.drain(random)
        # The limit, and what the one lane brings that exceeds it or has its turn.
        assert broker.peak <= most + max(size * prefetch for size, _, prefetch in lanes)

    asyncio.run(emptied())


@given(st.integers(2, 30), st.integers(2, 8), st.randoms(use_true_random=False))
def test_lanes_take_turns(lanes: int, messages: int, random: Random) -> None:
    async def taken() -> None:
        broker = Broker(100 * KIB)
        for number in range(lanes):
            await broker.open(f"lane {number}", [60 * KIB] * messages, 1)
        await broker.drain(random)
        counts = dict.fromkeys((lane.queue for lane in broker.lanes), 0)
        for queue in broker.turns:
            counts[queue] += 1
            assert max(counts.values()) - min(counts.values()) <= 2

    asyncio.run(taken())


def test_a_lane_that_does_not_yield_is_never_paused_and_starves_nobody() -> None:
    async def served() -> None:
        broker = Broker(10 * KIB)
        live = await broker.open("live", [8 * KIB] * 200, 4, yields=False)
        others = [await broker.open(f"lane {n}", [8 * KIB] * 3, 1) for n in range(5)]
        random = Random(1)
        while live.bodies:
            await broker.settle(random)
        assert live.pauses == 0
        assert not any(lane.bodies for lane in others)
        await broker.drain(random)

    asyncio.run(served())


def test_no_lane_is_paused_below_the_limit_and_a_lane_alone_seldom() -> None:
    async def run(most: int) -> int:
        broker = Broker(most)
        lane = await broker.open("busy", [KIB] * 500, 64)
        idle = await broker.open("idle", [], 64)
        await broker.drain(Random(1))
        return lane.pauses + idle.pauses

    assert asyncio.run(run(64 * KIB)) == 0
    # Each time the limit is exceeded, until half of it is settled.
    assert asyncio.run(run(48 * KIB)) <= 2 * 500 / 24


def test_a_lane_whose_messages_another_worker_received_blocks_no_other() -> None:
    async def served() -> None:
        broker = Broker(10 * KIB)
        lanes = [await broker.open(f"lane {n}", [8 * KIB] * 2, 1) for n in range(3)]
        paused = [lane for lane in lanes if lane.account.paused]
        assert paused
        for lane in paused:
            lane.bodies.clear()
        await broker.drain(Random(1))
        assert not any(lane.account.paused for lane in lanes)

    asyncio.run(served())


def test_stopped_lanes_are_not_resumed_until_it_goes_on() -> None:
    async def stopped() -> None:
        broker = Broker(10 * KIB)
        lanes = [await broker.open(f"lane {n}", [8 * KIB] * 2, 1) for n in range(3)]
        broker.pause.stopped = True
        for lane in lanes:
            lane.consuming = False
        while broker.unsettled:
            await broker.settle(Random(1))
        assert any(lane.account.paused for lane in lanes)
        broker.pause.go_on()
        for lane in lanes:
            if not lane.account.paused:
                await lane.resume_consuming(10.0, "")
        await broker.rest()
        await broker.drain(Random(1))

    asyncio.run(stopped())


def test_a_lane_that_leaves_takes_its_bytes_along() -> None:
    async def left() -> None:
        broker = Broker(10 * KIB)
        first = await broker.open("first", [8 * KIB] * 2, 2)
        second = await broker.open("second", [8 * KIB], 1)
        assert broker.pause.held > 10 * KIB
        assert second.account.paused
        first.account.leave()
        broker.unsettled.clear()
        broker.pause.look()
        await broker.rest()
        assert not second.account.paused
        await broker.drain(Random(1))

    asyncio.run(left())
