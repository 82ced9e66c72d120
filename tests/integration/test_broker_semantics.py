"""What memq relies on in a broker, and what differs from version to version: counts, limits, order, tiers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from memq_amqp import Connection
from memq_amqp.address import parse

from memq_schemas import Names, headers, topology
from memq_worker.amqp.declare import declare
from tests.support.broker import depth, take
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

    from tests.support.broker import Address

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

# More than the 20 after which RabbitMQ 4 gives a message up where a queue does not say otherwise.
MORE_THAN_BY_DEFAULT = 25


@pytest.fixture
async def names(amqp: Address) -> Names:
    async with await aio_pika.connect(amqp.url) as connection:
        await declare(Connection(connection, *parse(amqp.url)), topology(amqp.prefix), "always", 20.0)
    return Names(amqp.prefix)


async def publish(amqp: Address, exchange: str, bodies: list[bytes], **properties: Any) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False)
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=2, priority=headers.PRIORITY, **properties)
            await target.publish(message, "upsert.docs")


@asynccontextmanager
async def delivered(
    connection: AbstractConnection, queue: str, count: int = 1
) -> AsyncIterator[list[AbstractIncomingMessage]]:
    """The first `count` messages, unsettled; those still unsettled at the end are lost with their channel."""
    async with connection.channel() as channel:
        await channel.set_qos(prefetch_count=count)
        taken: list[AbstractIncomingMessage] = []

        async def keep(message: AbstractIncomingMessage) -> None:
            taken.append(message)

        source = await channel.get_queue(queue, ensure=False)
        tag = await source.consume(keep)
        await until(lambda: len(taken) >= count, within=30)
        await source.cancel(tag)
        yield taken


async def lose(amqp: Address, queue: str, times: int) -> None:
    """Takes the first message and leaves without settling it, as a worker does that is killed."""
    async with await aio_pika.connect(amqp.url) as connection:
        for _ in range(times):
            async with delivered(connection, queue):
                pass


async def test_handing_back_does_not_use_a_write_up(amqp: Address, names: Names) -> None:
    await publish(amqp, names.commands, [b"kept"])
    async with await aio_pika.connect(amqp.url) as connection:
        for _ in range(MORE_THAN_BY_DEFAULT):
            async with delivered(connection, names.write) as (message,):
                await message.nack(requeue=True)
    assert [message.body for message in await take(amqp, names.write)] == [b"kept"]
    assert await depth(amqp, names.dead) == 0


async def test_what_is_handed_back_is_first_again_in_its_order(amqp: Address, names: Names) -> None:
    await publish(amqp, names.commands, [b"%d" % n for n in range(6)])
    async with await aio_pika.connect(amqp.url) as connection, delivered(connection, names.write, 3) as taken:
        for message in taken:
            await message.nack(requeue=True)
    await until(lambda: holds(amqp, names.write, 6))
    assert [message.body for message in await take(amqp, names.write)] == [b"%d" % n for n in range(6)]


async def test_a_delivery_lost_with_its_channel_is_counted(amqp: Address, names: Names) -> None:
    await publish(amqp, names.commands, [b"x"])
    async with await aio_pika.connect(amqp.url) as connection:
        for lost in range(4):
            async with delivered(connection, names.write) as (message,):
                assert message.headers.get("x-delivery-count", 0) == lost
                assert bool(message.redelivered) is (lost > 0)


async def test_a_suspect_lost_more_often_than_its_limit_is_a_dead_letter(amqp: Address, names: Names) -> None:
    await publish(amqp, names.suspect, [b"killer", b"neighbour"], headers={"mine": "kept"}, reply_to="caller")
    await lose(amqp, names.suspect, 4)
    await until(lambda: holds(amqp, names.dead, 1), within=20)
    (dead,) = await take(amqp, names.dead)
    assert (dead.body, dead.routing_key, dead.reply_to) == (b"killer", "upsert.docs", "caller")
    assert dead.headers["mine"] == "kept"
    assert dead.headers["x-first-death-reason"] == "delivery_limit"
    (neighbour,) = await take(amqp, names.suspect)
    assert neighbour.body == b"neighbour"
    assert neighbour.headers.get("x-delivery-count", 0) == 0


async def test_a_copy_comes_back_from_its_tier_with_a_count_of_its_own(amqp: Address, names: Names) -> None:
    await publish(amqp, names.commands, [b"x"])
    for attempt in range(1, 4):
        await lose(amqp, names.write, 2)
        async with await aio_pika.connect(amqp.url) as connection:
            async with delivered(connection, names.write) as (message,):
                assert message.headers["x-delivery-count"] == 2
                kept = {k: v for k, v in message.headers.items() if not k.startswith(headers.BROKER_PREFIXES)}
                await publish(amqp, names.retry(1), [message.body], headers={**kept, headers.RETRY_COUNT: attempt})
                await message.ack()
            async with delivered(connection, names.write) as (again,):
                assert again.headers.get("x-delivery-count", 0) == 0
                assert (again.routing_key, again.headers[headers.RETRY_COUNT]) == ("upsert.docs", attempt)
                await again.nack(requeue=True)
        # Handing it back has counted on 3.10 and 4.0; a new copy starts again everywhere.
        (back,) = await take(amqp, names.write)
        await publish(amqp, names.commands, [back.body])
    assert await depth(amqp, names.dead) == 0


@pytest.mark.parametrize("which", ["dead", "tier"])
async def test_looking_does_not_use_up_what_lies_there(amqp: Address, names: Names, which: str) -> None:
    queue = names.dead if which == "dead" else names.retry(600)
    await publish(amqp, queue, [b"kept"])
    async with await aio_pika.connect(amqp.url) as connection, connection.channel() as channel:
        source = await channel.get_queue(queue, ensure=False)
        for _ in range(MORE_THAN_BY_DEFAULT):
            message = await until(lambda: source.get(fail=False), within=20)
            assert message is not None
            await message.reject(requeue=True)
    await until(lambda: holds(amqp, queue, 1))


async def test_a_request_that_nobody_takes_in_time_is_gone(amqp: Address, names: Names) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(names.commands, ensure=False)
        await target.publish(aio_pika.Message(b"{}", expiration=0.05), "query.docs")
    await until(lambda: holds(amqp, names.query, 0))
    assert await depth(amqp, names.dead) == 0


async def holds(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count
