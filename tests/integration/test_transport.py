"""The same transport, whichever way frames are read and published: one suite for both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import pytest
from memq_amqp.address import parse

from memq_schemas import topology
from memq_schemas.properties import Properties
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.session import Session, open_session
from memq_worker.amqp.session_options import SessionOptions
from memq_worker.errors import BrokerUnavailable, Unroutable
from tests.support.broker import depth, take
from tests.support.until import until

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from memq_schemas.topology import Order
    from memq_worker.pipeline.delivery import Delivery
    from tests.support.broker import Address

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

PREFETCH = 50


@pytest.fixture(params=[True, False], ids=["fast", "stock"])
def fast(request: pytest.FixtureRequest) -> bool:
    return request.param


class Taken:
    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.news = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.news.set()

    async def count(self, number: int) -> list[Delivery]:
        async with asyncio.timeout(20):
            while len(self.deliveries) < number:
                self.news.clear()
                await self.news.wait()
        return self.deliveries


def session(
    amqp: Address,
    taken: Taken,
    fast: bool,
    prefetch: int = PREFETCH,
    prefetch_bytes: int | None = None,
    order: Order = "relaxed",
) -> AbstractAsyncContextManager[Session]:
    options = SessionOptions(topology(amqp.prefix, order=order), "always", prefetch, 10, 10.0, prefetch_bytes)
    return open_session(Brokers(parse(amqp.url), "tested", 10.0, fast=fast), options, taken)


async def publish(amqp: Address, bodies: list[bytes]) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(f"{amqp.prefix}.commands", ensure=False)
        for number, body in enumerate(bodies):
            message = aio_pika.Message(
                body, delivery_mode=2, headers={"n": number, "text": "ü"}, correlation_id=f"c{number}", reply_to="r"
            )
            await exchange.publish(message, f"upsert.c{number}")


BODIES = [b"", b"x", b"y" * 4096, bytes(range(256)) * 4000, b"z" * 131_064, b"w" * 131_065, b"last"]


async def test_deliveries_arrive_byte_for_byte_with_their_envelope(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast):
        await publish(amqp, BODIES)
        deliveries = await taken.count(len(BODIES))
        assert [delivery.body for delivery in deliveries] == BODIES
        assert [delivery.routing_key for delivery in deliveries] == [f"upsert.c{n}" for n in range(len(BODIES))]
        first = deliveries[0]
        assert first.queue == f"{amqp.prefix}.write"
        assert (first.properties.correlation_id, first.properties.reply_to) == ("c0", "r")
        assert dict(first.properties.headers) == {"n": 0, "text": "ü"}
        assert not first.redelivered


async def test_no_more_than_the_prefetch_is_out_and_acknowledging_brings_the_next(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast) as opened:
        await publish(amqp, [b"x"] * (PREFETCH * 2))
        await taken.count(PREFETCH)
        await until(lambda: depth_is(amqp, PREFETCH))
        for delivery in taken.deliveries[:10]:
            delivery.link.ack(delivery.tag)
        await taken.count(PREFETCH + 10)
        assert opened.unsettled == PREFETCH


async def depth_is(amqp: Address, count: int) -> bool:
    return await depth(amqp, f"{amqp.prefix}.write") == count


async def test_fewer_are_out_where_they_are_large_and_none_is_lost_with_the_change(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast, prefetch=300, prefetch_bytes=2**20) as opened:
        assert opened.prefetch_by_role["write"] == 64
        await publish(amqp, [b"%05d" % n * 20_000 for n in range(200)])
        await taken.count(64)
        await until(lambda: prefetch_is(opened, 9))
        settled = 0
        while settled < 200:
            await taken.count(settled + 1)
            while settled < len(taken.deliveries):
                taken.deliveries[settled].link.ack(taken.deliveries[settled].tag)
                settled += 1
        assert opened.prefetch_by_role["write"] == 9
    assert [delivery.body[:5] for delivery in taken.deliveries] == [b"%05d" % n for n in range(200)]
    assert not any(delivery.redelivered for delivery in taken.deliveries)


async def test_more_are_out_where_they_are_small_until_consuming_stops(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast, prefetch=200, prefetch_bytes=2**20) as opened:
        await publish(amqp, [b"x"] * 300)
        await taken.count(200)
        await until(lambda: prefetch_is(opened, 200))
        await opened.stop_consuming()
        await publish(amqp, [b"late"])
        await until(lambda: depth_is(amqp, 301 - len(taken.deliveries)))


async def test_consuming_that_stops_while_the_prefetch_changes_has_stopped(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast, prefetch=200, prefetch_bytes=2**20) as opened:
        await publish(amqp, [b"x"] * 70)
        await taken.count(64)
        await opened.stop_consuming()
        await publish(amqp, [b"late"] * 5)
        await until(lambda: depth_is(amqp, 75 - len(taken.deliveries)))
        await opened.resume_consuming()
        await taken.count(75)
        assert opened.prefetch_by_role["write"] == 200


async def test_the_order_stays_while_the_prefetch_changes_again_and_the_first_are_unsettled(
    amqp: Address, fast: bool
) -> None:
    taken = Taken()
    async with session(amqp, taken, fast, prefetch=300, prefetch_bytes=2**20) as opened:
        sizes = [20_000] * 64 + [1] * 400
        await publish(amqp, [b"%05d" % n * size for n, size in enumerate(sizes)])
        await taken.count(64)
        await until(lambda: prefetch_is(opened, 9))
        settled = 64
        while settled < len(sizes):
            # Full windows are what it changes at.
            await taken.count(min(settled + opened.prefetch_by_role["write"], len(sizes)))
            while settled < len(taken.deliveries):
                taken.deliveries[settled].link.ack(taken.deliveries[settled].tag)
                settled += 1
        assert opened.prefetch_by_role["write"] > 9
    assert [delivery.body[:5] for delivery in taken.deliveries] == [b"%05d" % n for n in range(len(sizes))]
    assert not any(delivery.redelivered for delivery in taken.deliveries)


async def prefetch_is(opened: Session, count: int) -> bool:
    return opened.prefetch_by_role["write"] == count


@pytest.mark.parametrize("order", ["relaxed", "strict"])
@pytest.mark.parametrize("run", [1, 7, 150], ids="runs of {}".format)
async def test_nothing_settled_comes_again_after_a_stop_and_the_rest_comes_in_order(
    amqp: Address, fast: bool, run: int, order: Order
) -> None:
    """RabbitMQ applies 32 settlements of a channel at a time, and forgets the others when the channel is closed."""
    count, taken = 300, Taken()
    async with session(amqp, taken, fast, prefetch=count, order=order) as opened:
        await publish(amqp, [b"%d" % n for n in range(count)])
        deliveries = await taken.count(count)
        await opened.stop_consuming()
        kept = [n for n in range(count) if n // run % 2 == 0]
        for n in reversed(range(count)):
            link = deliveries[n].link
            (link.nack if n in kept else link.ack)(deliveries[n].tag)
        await opened.flush()
    again = Taken()
    async with session(amqp, again, fast, prefetch=count, order=order):
        await again.count(len(kept))
        assert [int(delivery.body) for delivery in again.deliveries] == kept


async def test_unsettled_deliveries_come_again_and_settled_ones_do_not(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast) as opened:
        await publish(amqp, [b"%d" % n for n in range(9)])
        deliveries = await taken.count(9)
        for delivery in deliveries:
            {0: delivery.link.ack, 1: delivery.link.nack, 2: lambda _: None}[delivery.tag % 3](delivery.tag)
        await opened.stop_consuming()
        await opened.flush()
    again = Taken()
    async with session(amqp, again, fast):
        await again.count(6)
        assert sorted(delivery.body for delivery in again.deliveries) == sorted(
            delivery.body for delivery in deliveries[:9] if delivery.tag % 3
        )
        assert all(delivery.redelivered for delivery in again.deliveries)


async def test_a_rejected_delivery_is_kept_among_the_dead_letters(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast):
        await publish(amqp, [b"odd"])
        (delivery,) = await taken.count(1)
        delivery.link.reject(delivery.tag)
        await until(lambda: dead_is(amqp, 1))
    (dead,) = await take(amqp, f"{amqp.prefix}.dead")
    assert (dead.body, dead.routing_key) == (b"odd", "upsert.c0")


async def dead_is(amqp: Address, count: int) -> bool:
    return await depth(amqp, f"{amqp.prefix}.dead") == count


async def test_after_cancelling_nothing_more_arrives(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast) as opened:
        await opened.stop_consuming()
        await publish(amqp, [b"late"])
        await until(lambda: depth_is(amqp, 1))
        assert taken.deliveries == []


async def test_publishing_is_confirmed_and_nowhere_is_an_error(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast):
        await publish(amqp, [b"x"])
        (delivery,) = await taken.count(1)
        await delivery.link.publish(f"{amqp.prefix}.dead", "upsert.a", b"copy", Properties(headers={"k": 1}))
        assert await depth(amqp, f"{amqp.prefix}.dead") == 1
        with pytest.raises(Unroutable):
            await delivery.link.publish("", "nobody", b"reply", Properties())


async def test_a_closed_session_settles_nothing_more(amqp: Address, fast: bool) -> None:
    taken = Taken()
    async with session(amqp, taken, fast):
        await publish(amqp, [b"x"])
        (delivery,) = await taken.count(1)
    assert not delivery.link.alive
    delivery.link.ack(delivery.tag)
    with pytest.raises(BrokerUnavailable):
        await delivery.link.publish("", "nobody", b"", Properties())
    assert await depth(amqp, f"{amqp.prefix}.write") == 1
