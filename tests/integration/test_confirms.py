"""Confirmed publishing of our own, against a real broker: what each publish is told is what became of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from memq_amqp import ConfirmingPublisher, Lost, Properties, Refused, Returned, connect, encode, frames_of

from tests.support.broker import take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from aiormq.abc import AbstractChannel

    from tests.support.broker import Address

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

PROPERTIES = Properties(content_type="application/json", headers={"k": "ü"}, delivery_mode=2)


@asynccontextmanager
async def publishing(amqp: Address) -> AsyncIterator[tuple[ConfirmingPublisher, AbstractChannel]]:
    async with await connect(amqp.url) as connection:
        channel = await (await connection.channel()).get_underlay_channel()
        frames = frames_of(connection)
        assert frames is not None
        publisher = ConfirmingPublisher(channel)
        frames.attach(channel.number, publisher)
        yield publisher, channel


async def queue(amqp: Address, name: str, **arguments: Any) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})


async def test_each_of_many_at_once_is_told_its_own_outcome(amqp: Address) -> None:
    await queue(amqp, "there")
    bodies = [bytes([n % 256]) * size for n, size in enumerate([0, 1, 100, 131_064, 131_065, 300_000, *[50] * 300])]
    async with publishing(amqp) as (publisher, _):

        async def one(number: int, body: bytes) -> str:
            try:
                await publisher.publish("", "there" if number % 3 else "nowhere", body, PROPERTIES)
            except Returned:
                return "returned"
            return "kept"

        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*(one(n, body) for n, body in enumerate(bodies)))
    assert outcomes == ["kept" if n % 3 else "returned" for n in range(len(bodies))]
    kept = await take(amqp, "there")
    assert [message.body for message in kept] == [body for n, body in enumerate(bodies) if n % 3]
    assert all(message.headers["k"] == "ü" for message in kept)
    assert len({message.message_id for message in kept}) == len(kept)


async def test_a_full_queue_refuses(amqp: Address) -> None:
    await queue(amqp, "small", **{"x-max-length": 1, "x-overflow": "reject-publish"})
    async with publishing(amqp) as (publisher, _), asyncio.timeout(60):
        # A quorum queue counts late: some beyond the limit are still taken.
        outcomes: set[type[object]] = set()
        while Refused not in outcomes:
            tries = (publisher.publish("", "small", b"x", PROPERTIES) for _ in range(50))
            outcomes |= set(map(type, await asyncio.gather(*tries, return_exceptions=True)))
        assert outcomes == {type(None), Refused}


async def test_what_is_unconfirmed_when_the_channel_closes_is_lost_and_so_is_what_comes_later(amqp: Address) -> None:
    async with publishing(amqp) as (publisher, channel), asyncio.timeout(60):
        # An exchange that is not there closes the channel.
        with pytest.raises(Lost, match="missing"):
            await publisher.publish("missing", "key", b"x", PROPERTIES)
        assert channel.is_closed
        with pytest.raises(Lost):
            await publisher.publish("", "key", b"x", PROPERTIES)


async def test_one_who_gives_up_takes_no_other_with_it(amqp: Address) -> None:
    await queue(amqp, "there")
    async with publishing(amqp) as (publisher, _), asyncio.timeout(60):
        first = asyncio.create_task(publisher.publish("", "there", b"first", PROPERTIES))
        second = asyncio.create_task(publisher.publish("", "there", b"second", PROPERTIES))
        await asyncio.sleep(0)
        while publisher._out:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(ValueError, match="255"):
            await publisher.publish("", "there", b"", PROPERTIES._replace(correlation_id="x" * 256))
        await publisher.publish("", "there", b"third", PROPERTIES)
    assert [message.body for message in await take(amqp, "there")] == [b"first", b"second", b"third"]


async def test_what_is_given_up_before_it_is_written_is_never_sent(amqp: Address) -> None:
    await queue(amqp, "there")
    async with publishing(amqp) as (publisher, _), asyncio.timeout(60):
        doomed = [asyncio.create_task(publisher.publish("", "there", b"doomed", PROPERTIES)) for _ in range(3)]
        kept = asyncio.create_task(publisher.publish("", "there", b"kept", PROPERTIES))
        asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in doomed])
        await kept
        assert all(task.cancelled() for task in doomed)
        await publisher.publish("", "there", b"next", PROPERTIES)
    assert [message.body for message in await take(amqp, "there")] == [b"kept", b"next"]


async def test_an_id_that_is_on_its_way_is_refused_and_free_when_it_has_arrived(amqp: Address) -> None:
    await queue(amqp, "there")
    async with publishing(amqp) as (publisher, _), asyncio.timeout(60):

        def publish() -> Coroutine[Any, Any, None]:
            properties = encode(PROPERTIES._replace(message_id="same"))
            return publisher.publish_encoded("", "there", b"x", "same", properties)

        first = asyncio.create_task(publish())
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="'same'"):
            await publish()
        await first
        await publish()


async def test_what_the_broker_says_is_heard_of_one_who_has_given_up(amqp: Address) -> None:
    await queue(amqp, "there")
    heard = asyncio.Event()
    async with publishing(amqp) as (publisher, _), asyncio.timeout(60):
        properties = encode(PROPERTIES._replace(message_id="1"))
        giving_up = asyncio.create_task(publisher.publish_encoded("", "there", b"x", "1", properties, heard.set))
        await asyncio.sleep(0)
        while publisher._out:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0)
        giving_up.cancel()
        await heard.wait()


async def test_a_closed_publisher_tells_who_waits(amqp: Address) -> None:
    await queue(amqp, "there")
    async with publishing(amqp) as (publisher, _), asyncio.timeout(60):
        waiting = asyncio.create_task(publisher.publish("", "there", b"x", PROPERTIES))
        await asyncio.sleep(0)
        publisher.close()
        with pytest.raises(Lost):
            await waiting
