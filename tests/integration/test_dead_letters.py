from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from memq import BrokerUnavailable, Producer, TopologyMissing, Unconfirmed
from memq.dead import Attempts, Selection, Tally
from memq.dead import walk as walking
from memq_schemas import Names, headers
from memq_schemas.topology import SUSPECT_DELIVERY_LIMIT
from tests.support.broker import depth, take
from tests.support.dead import bury, failed, left
from tests.support.responder import declare, responder
from tests.support.tcp_proxy import tcp_proxy
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractChannel

    from tests.support.broker import Address

pytestmark = pytest.mark.integration


@pytest.fixture
async def channel(amqp: Address) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        yield channel


@pytest.fixture
async def memq(amqp: Address, channel: AbstractChannel) -> AsyncIterator[Producer]:
    assert channel
    async with Producer(amqp.url, prefix=amqp.prefix, confirm_timeout=20) as producer:
        yield producer


async def settled(address: Address, count: int) -> None:
    """What a walk puts back is there again a moment after it."""

    async def there() -> bool:
        return await depth(address, Names(address.prefix).dead) == count

    await until(there)


async def test_a_list_tells_all_of_it_and_leaves_everything_in_its_place(
    amqp: Address, channel: AbstractChannel, memq: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several blocks, so that what is put back comes from several consumers.
    monkeypatch.setattr(walking, "BLOCK_LIMIT", 7)
    monkeypatch.setattr(walking, "FIRST_BLOCK", 3)
    for number in range(100):
        code = "invalid" if number % 3 else "wrong_dimension"
        await bury(channel, amqp.prefix, number, own=failed(code, attempts=number % 5 + 1, ago=number * 60))
    for _ in range(2):
        await memq.dead.list()
        await settled(amqp, 100)
    listing = await memq.dead.list(Selection(codes=frozenset({"invalid"}), limit=5))
    assert [letter.correlation_id for letter in listing.letters] == ["1", "2", "4", "5", "7"]
    assert [letter.position for letter in listing.letters] == [2, 3, 5, 6, 8]
    assert (listing.tally.depth, listing.tally.walked, listing.tally.selected) == (100, 100, 66)
    assert listing.tally.codes == {"invalid": 66}
    await settled(amqp, 100)
    letter = listing.letters[0]
    assert (letter.operation, letter.collection, letter.code, letter.attempts) == ("upsert", "docs", "invalid", 2)
    assert (letter.queue, letter.worker, letter.stage, letter.reason) == (
        "memq.write",
        "w-1",
        "write",
        "because of invalid",
    )
    assert letter.size > 0
    assert letter.body is None
    assert 60 <= (letter.age(datetime.now(UTC)) or 0) < 600
    assert await left(amqp, Names(amqp.prefix).dead) == [str(number) for number in range(100)]


async def test_one_letter_is_found_by_number_and_by_id_with_its_body(
    amqp: Address, channel: AbstractChannel, memq: Producer
) -> None:
    for number in range(30):
        await bury(channel, amqp.prefix, number, body=b"body %d" % number)
    third = await memq.dead.find(3)
    assert third is not None
    assert (third.correlation_id, third.body) == ("2", b"body 2")
    await settled(amqp, 30)
    same = await memq.dead.find(third.message_id or "")
    assert same is not None
    assert (same.position, same.body) == (3, b"body 2")
    await settled(amqp, 30)
    assert await memq.dead.find(31) is None
    await settled(amqp, 30)
    assert await memq.dead.find("nobody") is None
    await settled(amqp, 30)
    assert await left(amqp, Names(amqp.prefix).dead) == [str(number) for number in range(30)]


async def test_a_replay_sends_the_selected_as_new_and_keeps_the_others(
    amqp: Address, channel: AbstractChannel, memq: Producer
) -> None:
    own: dict[str, Any] = {
        "ours": "kept",
        headers.TRACEPARENT: "00-1-2-03",
        "number": 2**40,
        "half": 0.5,
        "price": Decimal("1.5"),
        "raw": bytearray(b"\x00\xff"),
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "list": ["a", 1, bytearray(b"\x01")],
        "table": {"k": True, "n": None},
    }
    for number in range(10):
        code = "unknown_collection" if number % 2 else "invalid"
        more = own | {headers.DEADLINE: 1, "x-first-death-reason": "rejected"}
        await bury(channel, amqp.prefix, number, key=f"upsert.c{number % 4}", own=failed(code, attempts=4, **more))
    chosen = Selection(codes=frozenset({"unknown_collection"}), collections=frozenset({"c1"}))
    assert (await memq.dead.replay(chosen, dry_run=True)).selected == 3
    await settled(amqp, 10)
    tally = await memq.dead.replay(chosen)
    assert (tally.depth, tally.walked, tally.selected, tally.done, tally.unroutable) == (10, 10, 3, 3, 0)
    sent = await take(amqp, Names(amqp.prefix).write)
    assert [message.correlation_id for message in sent] == ["1", "5", "9"]
    assert {message.routing_key for message in sent} == {"upsert.c1"}
    assert len({message.message_id for message in sent}) == 3
    for message in sent:
        # The delivery count is the broker's and of this delivery; from RabbitMQ 4.0 on, a first delivery has none.
        assert message.headers | {"x-delivery-count": 0} == own | {"x-delivery-count": 0}
        assert message.reply_to is None
        assert message.expiration is None
        assert (message.delivery_mode, message.priority) == (2, headers.PRIORITY)
        assert (message.content_type, message.app_id) == (headers.JSON, headers.APP_ID)
    await settled(amqp, 7)
    assert await left(amqp, Names(amqp.prefix).dead) == ["0", "2", "3", "4", "6", "7", "8"]


async def test_a_limit_takes_the_first_that_fit(amqp: Address, channel: AbstractChannel, memq: Producer) -> None:
    for number in range(200):
        await bury(channel, amqp.prefix, number)
    assert (await memq.dead.replay(Selection(limit=2))).done == 2
    await settled(amqp, 198)
    assert (await memq.dead.purge(Selection(limit=150))).done == 150
    await settled(amqp, 48)
    assert await left(amqp, Names(amqp.prefix).write) == ["0", "1"]
    assert await left(amqp, Names(amqp.prefix).dead) == [str(number) for number in range(152, 200)]


async def test_a_purge_removes_what_was_approved_and_nothing_else(
    amqp: Address, channel: AbstractChannel, memq: Producer
) -> None:
    for number in range(20):
        await bury(channel, amqp.prefix, number, own=failed(ago=3600 * number))
    old = Selection(older_than=timedelta(hours=9.5))
    asked: list[int] = []

    async def refuse(tally: Tally) -> bool:
        asked.append(tally.selected)
        return False

    async def agree(tally: Tally) -> bool:
        # Comes while the question is open, and was not in it.
        await bury(channel, amqp.prefix, 99, own=failed(ago=10**6))
        return not await refuse(tally)

    assert (await memq.dead.purge(old, dry_run=True)).selected == 10
    await settled(amqp, 20)
    assert (await memq.dead.purge(old, approve=refuse)).done == 0
    await settled(amqp, 20)
    assert (await memq.dead.purge(old, approve=agree)).done == 10
    assert asked == [10, 10]
    await settled(amqp, 11)
    assert await left(amqp, Names(amqp.prefix).dead) == [*(str(number) for number in range(10)), "99"]


async def test_what_the_broker_gave_up_by_itself_has_its_code(
    amqp: Address, channel: AbstractChannel, memq: Producer
) -> None:
    names = Names(amqp.prefix)
    own = failed("store_error", attempts=3)
    message = aio_pika.Message(b"{}", headers=own, delivery_mode=2, priority=4, correlation_id="7")
    await channel.default_exchange.publish(message, names.suspect)
    source = await channel.get_queue(names.suspect, ensure=False)
    for _ in range(SUSPECT_DELIVERY_LIMIT + 1):
        found = await until(lambda: source.get(fail=False))
        assert found is not None
        await found.reject(requeue=True)
    await settled(amqp, 1)
    (letter,) = (await memq.dead.list(Selection(codes=frozenset({"delivery_limit"})))).letters
    assert (letter.code, letter.stage, letter.queue, letter.attempts) == ("delivery_limit", "broker", names.suspect, 3)
    assert "before that store_error: because of store_error" in letter.reason
    assert letter.age(datetime.now(UTC)) is not None


async def test_hostile_letters_are_listed_and_one_that_no_queue_takes_stays(
    amqp: Address, channel: AbstractChannel, memq: Producer
) -> None:
    hostile = {
        headers.RETRY_COUNT: "many",
        headers.ERROR_CODE: 7,
        headers.LAST_FAILED_AT: "yesterday",
        headers.ORIGINAL_QUEUE: ["q"],
        "x-death": "no",
    }
    await bury(channel, amqp.prefix, 1, key="frobnicate.docs", own=hostile, body=b"\xff\x00")
    await bury(channel, amqp.prefix, 2, key="", own={})
    await bury(channel, amqp.prefix, 3)
    first, second, third = (await memq.dead.list()).letters
    assert (first.code, first.operation, first.attempts, first.queue) == ("7", "unknown", 1, "['q']")
    assert (second.code, second.operation, second.reason) == ("unknown", "unknown", "")
    assert third.code == "wrong_dimension"
    await settled(amqp, 3)
    tally = await memq.dead.replay()
    assert (tally.done, tally.unroutable) == (1, 2)
    assert "no queue is bound for frobnicate.docs" in (tally.unroutable_reason or "")
    await settled(amqp, 2)
    assert await left(amqp, Names(amqp.prefix).dead) == ["1", "2"]


async def test_two_who_replay_at_once_lose_none(
    amqp: Address, channel: AbstractChannel, memq: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "BLOCK_LIMIT", 10)
    monkeypatch.setattr(walking, "QUIET_SECONDS", 0.2)
    for number in range(200):
        await bury(channel, amqp.prefix, number)
    tallies = await asyncio.gather(memq.dead.replay(), memq.dead.replay(), memq.dead.list())
    assert tallies[0].done + tallies[1].done <= 200
    await until(lambda: _together(amqp, 200))
    again = await memq.dead.replay()
    assert tallies[0].done + tallies[1].done + again.done == 200
    assert sorted(map(int, await left(amqp, Names(amqp.prefix).write))) == list(range(200))
    assert await left(amqp, Names(amqp.prefix).dead) == []


async def _together(address: Address, count: int) -> bool:
    names = Names(address.prefix)
    return await depth(address, names.dead) + await depth(address, names.write) == count


async def test_a_full_queue_stops_a_replay_which_loses_nothing(amqp: Address, channel: AbstractChannel) -> None:
    arguments = {"x-max-length": 5, "x-overflow": "reject-publish"}
    full = await channel.declare_queue("full", arguments=arguments, durable=True)
    await full.bind(Names(amqp.prefix).commands, "upsert.#")
    for number in range(20):
        await bury(channel, amqp.prefix, number)
    tally = Tally()
    async with Producer(amqp.url, prefix=amqp.prefix, confirm_timeout=1) as memq:
        with pytest.raises(Unconfirmed, match="refused"):
            await memq.dead.replay(tally=tally)
    assert tally.done == 5
    await settled(amqp, 15)
    assert {*await left(amqp, "full"), *await left(amqp, Names(amqp.prefix).dead)} == {str(n) for n in range(20)}


async def test_a_cancelled_replay_puts_the_rest_back(amqp: Address, channel: AbstractChannel, memq: Producer) -> None:
    for number in range(500):
        await bury(channel, amqp.prefix, number, own=failed(attempts=number % 2 + 1))
    begun = asyncio.Event()

    def progress(tally: Tally) -> None:
        if tally.done >= 3:
            begun.set()

    replaying = asyncio.create_task(memq.dead.replay(Selection(attempts=Attempts(1, 1)), progress=progress))
    await begun.wait()
    replaying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await replaying
    names = Names(amqp.prefix)

    async def all_back() -> bool:
        return await depth(amqp, names.dead) + await depth(amqp, names.write) >= 500

    await until(all_back)
    sent, kept = await left(amqp, names.write), await left(amqp, names.dead)
    assert {*sent, *kept} == {str(number) for number in range(500)}
    assert len(sent) >= 3
    assert kept == sorted(kept, key=int)


async def test_without_a_dead_letter_queue_it_says_what_to_do(amqp: Address, channel: AbstractChannel) -> None:
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        await channel.queue_delete(Names(amqp.prefix).dead)
        with pytest.raises(TopologyMissing, match="memq-worker declare"):
            await memq.dead.list()


async def test_a_connection_lost_under_a_walk_is_told_and_nothing_is_gone(
    amqp: Address, channel: AbstractChannel
) -> None:
    for number in range(50):
        await bury(channel, amqp.prefix, number)
    with tcp_proxy(amqp.url) as proxy:
        async with Producer(proxy.url(amqp.url), prefix=amqp.prefix) as memq:

            async def cut(_: Tally) -> bool:
                proxy.reset()
                return True

            with pytest.raises(BrokerUnavailable, match="lost while reading"):
                await memq.dead.purge(approve=cut)
            await settled(amqp, 50)
            assert (await memq.dead.list()).tally.walked == 50
            await settled(amqp, 50)
    assert await left(amqp, Names(amqp.prefix).dead) == [str(number) for number in range(50)]


async def test_a_worker_applies_what_is_replayed(amqp: Address, channel: AbstractChannel) -> None:
    for number in range(3):
        await bury(channel, amqp.prefix, number)
    async with responder(amqp.url, amqp.prefix) as worker, Producer(amqp.url, prefix=amqp.prefix) as memq:
        assert (await memq.dead.replay()).done == 3
        await worker.until(3)
