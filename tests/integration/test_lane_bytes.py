"""Lanes that hold more bytes together than a worker may have at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import aio_pika
import pytest
from memq_amqp.address import parse

from memq_schemas import Names, topology
from memq_schemas.tenants import TenantNames
from memq_schemas.topology import write_queue
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.session import open_session
from memq_worker.amqp.session_options import SessionOptions
from tests.support.broker import consumers, depth
from tests.support.until import until

if TYPE_CHECKING:
    from memq_worker.pipeline.delivery import Delivery
    from tests.support.broker import Address

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

MIB = 2**20
LANES = 12
EACH = 6
MOST = 3 * MIB


class Held:
    """Deliveries that a worker has not settled, oldest first, and how many bytes there were at the most."""

    def __init__(self) -> None:
        self.unsettled: list[Delivery] = []
        self.lanes: list[str] = []
        self.peak = 0
        self._news = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.unsettled.append(delivery)
        self.lanes.append(delivery.lane)
        self.peak = max(self.peak, self.size)
        self._news.set()

    @property
    def size(self) -> int:
        return sum(len(delivery.body) for delivery in self.unsettled)

    async def settle(self) -> None:
        """Settle the oldest, once there is one."""
        async with asyncio.timeout(20):
            while not self.unsettled:
                self._news.clear()
                await self._news.wait()
        delivery = self.unsettled.pop(0)
        delivery.link.ack(delivery.tag)


async def filled(amqp: Address) -> dict[str, str]:
    """Lanes by queue, each with as many messages of 1 MiB."""
    names = Names(amqp.prefix)
    lanes: dict[str, str] = {}
    for number in range(LANES):
        lane, queue = next(iter(TenantNames(amqp.prefix, f"tenant-{number}").lanes.items()))
        lanes[queue] = lane
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        for queue in lanes:
            arguments = write_queue(queue, names).arguments
            await channel.declare_queue(queue, durable=True, arguments=dict(arguments))
            for _ in range(EACH):
                await channel.default_exchange.publish(aio_pika.Message(b"x" * MIB, delivery_mode=2), queue)
    return lanes


async def test_lanes_take_turns_at_the_bytes_that_a_worker_may_hold(amqp: Address) -> None:
    held = Held()
    options = SessionOptions(topology(amqp.prefix), "always", 256, 10, 10.0, MOST)
    async with open_session(Brokers(parse(amqp.url), "tested", 10.0, fast=True), options, held) as session:
        lanes = await filled(amqp)
        await session.serve_tenants(lanes)

        async def paused() -> bool:
            # The broker counts a cancelled consumer until the last of its deliveries is settled.
            idle = [queue for queue, lane in lanes.items() if lane not in held.lanes]
            return held.size > MOST and not any([await consumers(amqp, queue) for queue in idle])

        await until(paused)
        assert await consumers(amqp, f"{amqp.prefix}.write")
        first = len(held.lanes)
        assert first < LANES, "each lane has received a message"
        assert session.consuming, "a worker that is short of memory is ready"
        while held.size > MOST // 2:
            await held.settle()
        held.peak = held.size
        while len(held.lanes) < LANES * EACH or held.unsettled:
            await held.settle()
            # The sizes are known by now, and so is what a resumed lane brings.
            assert held.peak <= MOST
        await until(lambda: empty(amqp, lanes))
        assert not any(delivery.redelivered for delivery in held.unsettled)
    assert Counter(held.lanes) == dict.fromkeys(lanes.values(), EACH)
    turns = [lane for lane, _ in groupby(held.lanes)]
    assert set(turns[: 2 * LANES]) == set(lanes.values()), turns
    for lane in lanes.values():
        places = [place for place, each in enumerate(turns) if each == lane]
        for before, after in pairwise(places):
            between = Counter(turns[before + 1 : after])
            assert max(between.values()) <= 2, turns


async def empty(amqp: Address, lanes: dict[str, str]) -> bool:
    return not any([await depth(amqp, queue) for queue in lanes])
