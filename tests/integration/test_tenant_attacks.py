"""What a user of one tenant tries against another: the broker refuses it, or it stays the tenant's own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aio_pika
import aiormq.exceptions
import orjson
import pytest
from memq_amqp import encode
from memq_amqp.wire.properties import Table

from memq import Producer
from memq_schemas import Names
from memq_schemas.properties import Properties
from memq_schemas.tenants import TenantNames
from tests.support.command import Memq
from tests.support.strange import raw, table, text
from tests.support.tenants import Tenants, tenants_of
from tests.support.until import until
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from aio_pika.abc import AbstractChannel, AbstractConnection

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

BODY = orjson.dumps({"points": [{"id": 1, "vector": [1.0, 0.0]}]})


@pytest.fixture
def tenants(amqp: Address, engine: EmbeddedEngine, tmp_path: Path) -> Iterator[Tenants]:
    """mallory attacks acme, which has a lane of its own."""
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with tenants_of(amqp, tmp_path, engine.url) as made:
        made.write("acme", "mallory", tables={"acme": 'lane = "own"'})
        made.ok("apply")
        yield made


@pytest.fixture
def memq(amqp: Address) -> Memq:
    """The command as the operator."""
    return Memq(amqp)


@pytest.fixture
async def mallory(tenants: Tenants) -> AsyncIterator[AbstractConnection]:
    async with await aio_pika.connect(tenants.url("mallory")) as connection:
        yield connection


@contextlib.asynccontextmanager
async def channel_of(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        yield channel
    finally:
        await channel.close()


class Attack:
    """Everything is done with the attacker's user."""

    def __init__(
        self, channel: AbstractChannel, tenants: Tenants, attacker: str = "mallory", victim: str = "acme"
    ) -> None:
        self.channel = channel
        self.names = Names(tenants.amqp.prefix)
        self.own = TenantNames(tenants.amqp.prefix, attacker)
        self.foreign = TenantNames(tenants.amqp.prefix, victim)

    async def publish(self, exchange: str, key: str = "upsert.notes", **headers: Any) -> None:
        target = await self.channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(BODY, headers=headers), key)

    async def queue(self, name: str, **arguments: Any) -> aio_pika.abc.AbstractQueue:
        return await self.channel.declare_queue(name, exclusive=True, auto_delete=True, arguments=arguments)

    async def bound(self, exchange: str, queue: str | None = None, key: str = "#") -> None:
        own = await self.queue(queue or self.own.reply("tap"))
        await own.bind(exchange, key)

    async def consume(self, queue: str) -> None:
        target = await self.channel.get_queue(queue, ensure=False)
        await target.consume(_ignore)

    async def exchange(self, name: str, **arguments: Any) -> aio_pika.abc.AbstractExchange:
        return await self.channel.declare_exchange(name, "topic", durable=False, arguments=arguments)

    async def link(self, destination: str, source: str) -> None:
        target = await self.channel.get_exchange(destination, ensure=False)
        await target.bind(await self.channel.get_exchange(source, ensure=False), "#")


async def _ignore(_: object) -> None: ...


REFUSED: dict[str, Callable[[Attack], Awaitable[Any]]] = {
    "publish to the other's exchange": lambda a: a.publish(a.foreign.commands),
    "publish to the other's bulk exchange": lambda a: a.publish(a.foreign.bulk),
    "publish to the other's read exchange": lambda a: a.publish(a.foreign.read, "query.notes"),
    "publish to the operator's exchange": lambda a: a.publish(a.names.commands),
    "publish to the operator's bulk exchange": lambda a: a.publish(a.names.bulk),
    "publish to the internal exchange": lambda a: a.publish(a.names.internal, **{"x-lane": "t.acme"}),
    "publish to a retry tier": lambda a: a.publish(a.names.retry(1)),
    "publish to an internal retry tier": lambda a: a.publish(a.names.retry(1, internal=True)),
    "publish to the suspects": lambda a: a.publish(a.names.suspect, **{"x-tenant": "acme"}),
    "publish to the dead letters": lambda a: a.publish(a.names.dead, **{"x-tenant": "acme"}),
    "publish to the default exchange": lambda a: a.channel.default_exchange.publish(
        aio_pika.Message(BODY), a.names.write
    ),
    "publish answers to the other": lambda a: a.publish(a.foreign.replies, a.foreign.reply("x")),
    "publish answers to itself": lambda a: a.publish(a.own.replies, a.own.reply("x")),
    "consume the operator's queue": lambda a: a.consume(a.names.write),
    "consume the shared lane": lambda a: a.consume(a.names.tenants_write),
    "consume the shared requests": lambda a: a.consume(a.names.tenants_query),
    "consume the other's lane": lambda a: a.consume(next(iter(a.foreign.lanes.values()))),
    "consume the dead letters": lambda a: a.consume(a.names.dead),
    "consume the suspects": lambda a: a.consume(a.names.suspect),
    "consume the generation": lambda a: a.consume(a.names.tenants),
    "purge the other's lane": lambda a: _purge(a, next(iter(a.foreign.lanes.values()))),
    "purge the shared lane": lambda a: _purge(a, a.names.tenants_write),
    "delete the other's lane": lambda a: _delete(a, next(iter(a.foreign.lanes.values()))),
    "delete the other's exchange": lambda a: a.channel.exchange_delete(a.foreign.commands),
    "delete its own exchange": lambda a: a.channel.exchange_delete(a.own.commands),
    "declare a reply queue of the other": lambda a: a.queue(a.foreign.reply("x")),
    "declare a reply queue of the operator": lambda a: a.queue(a.names.reply("x")),
    "declare a queue named by the broker": lambda a: a.queue(""),
    "read the other's answers": lambda a: a.bound(a.foreign.replies),
    "tap the other's commands": lambda a: a.bound(a.foreign.commands),
    "tap its own commands": lambda a: a.bound(a.own.commands),
    "tap the operator's commands": lambda a: a.bound(a.names.commands),
    "tap the dead letters": lambda a: a.bound(a.names.dead),
    "bind its exchange to the other's lane": lambda a: _rebind(a, next(iter(a.foreign.lanes.values()))),
    "bind its exchange to the operator's queue": lambda a: _rebind(a, a.names.write),
    "bind its answers to the other's exchange": lambda a: a.link(a.foreign.commands, a.own.replies),
    "bind its answers to the operator's exchange": lambda a: a.link(a.names.commands, a.own.replies),
    "bind its exchange to the other's": lambda a: a.link(a.foreign.commands, a.own.commands),
    "bind the other's commands to its exchange": lambda a: a.link(a.own.commands, a.foreign.commands),
    "have its reply queue dead-letter to the other": lambda a: a.queue(
        a.own.reply("x"), **{"x-dead-letter-exchange": a.foreign.commands, "x-message-ttl": 1}
    ),
    "have its reply queue dead-letter to the operator": lambda a: a.queue(
        a.own.reply("x"), **{"x-dead-letter-exchange": a.names.commands, "x-message-ttl": 1}
    ),
    "have its reply queue dead-letter to any queue": lambda a: a.queue(
        a.own.reply("x"), **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": a.names.write}
    ),
    "have an exchange with the other's as alternate": lambda a: a.exchange(
        a.own.reply("x"), **{"alternate-exchange": a.foreign.commands}
    ),
    "have an exchange with the operator's as alternate": lambda a: a.exchange(
        a.own.reply("x"), **{"alternate-exchange": a.names.commands}
    ),
    "declare an exchange of the other": lambda a: a.exchange(a.foreign.commands + ".more"),
}


async def _purge(attack: Attack, queue: str) -> None:
    await (await attack.channel.get_queue(queue, ensure=False)).purge()


async def _delete(attack: Attack, queue: str) -> None:
    await attack.channel.queue_delete(queue, if_unused=False, if_empty=False)


async def _rebind(attack: Attack, queue: str) -> None:
    await (await attack.channel.get_queue(queue, ensure=False)).bind(attack.own.commands, "#")


async def test_the_broker_refuses_every_crossing(tenants: Tenants, mallory: AbstractConnection) -> None:
    assert await _passed(tenants, mallory) == []


@pytest.mark.parametrize(
    ("attacker", "victim"),
    [
        ("a", "a-b"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("a-b", "a"), ("a", "aa"), ("aa", "a"), ("-", "--"), ("bulk", "read"))
        ),
    ],
)
async def test_names_that_begin_alike_give_no_rights(amqp: Address, tmp_path: Path, attacker: str, victim: str) -> None:
    """A prefix with dots, which regular expressions take for any character, and the exchanges of a look-alike."""
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with tenants_of(replace(amqp, prefix="my.memq"), tmp_path, "http://127.0.0.1:1") as tenants:
        tenants.settings["data_dir"] = tmp_path / "none"
        tenants.settings.pop("qdrant_url")
        tenants.write(attacker, victim, tables={victim: 'lane = "own"'})
        await asyncio.to_thread(tenants.ok, "apply")
        async with await aio_pika.connect(amqp.url) as operator, channel_of(operator) as making:
            for alike in ("myxmemq.t." + attacker, f"my.memq.t.{attacker}x", f"my.memq.t.{attacker}.bulkx"):
                await making.declare_exchange(alike, "topic")
        async with await aio_pika.connect(tenants.url(attacker)) as connection:
            assert await _passed(tenants, connection, attacker, victim) == []
            for alike in ("myxmemq.t." + attacker, f"my.memq.t.{attacker}x", f"my.memq.t.{attacker}.bulkx"):
                async with channel_of(connection) as channel:
                    with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
                        await Attack(channel, tenants, attacker, victim).publish(alike)


async def _passed(
    tenants: Tenants, connection: AbstractConnection, attacker: str = "mallory", victim: str = "acme"
) -> list[str]:
    """Return the attacks that were not refused."""
    passed: list[str] = []
    for name, tried in REFUSED.items():
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            await tried(Attack(channel, tenants, attacker, victim))
        except aiormq.exceptions.ChannelAccessRefused:
            continue
        else:
            passed.append(name)
        finally:
            await channel.close()
    return passed


async def test_copies_to_other_keys_stay_in_the_sender_s_own_exchange(
    tenants: Tenants, mallory: AbstractConnection
) -> None:
    """CC and BCC pass topic permissions before RabbitMQ 4.0; they never leave the exchange."""
    acme = TenantNames(tenants.amqp.prefix, "acme")
    async with channel_of(mallory) as channel:
        attack = Attack(channel, tenants)
        others = [*acme.lanes.values(), Names(tenants.amqp.prefix).write, "upsert.more"]
        await attack.publish(attack.own.commands, CC=others)
        await attack.publish(attack.own.commands, BCC=others)
    depths = await _depths(tenants)
    assert {queue: count for queue, count in depths.items() if count} == {Names(tenants.amqp.prefix).tenants_write: 2}


async def _depths(tenants: Tenants) -> dict[str, int]:
    names = Names(tenants.amqp.prefix)
    queues = [names.write, names.write_bulk, names.tenants_write, names.tenants_write_bulk, names.dead]
    queues += TenantNames(tenants.amqp.prefix, "acme").lanes.values()
    async with await aio_pika.connect(tenants.amqp.url) as connection:
        channel = await connection.channel()
        return {
            queue: (await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0
            for queue in queues
        }


FORGED = {
    "x-tenant": "acme",
    "x-lane": "t.acme",
    "x-retry-count": 1,
    "x-original-queue": "memq.lane.acme",
    "x-error-code": "store_error",
    "x-death": [{"exchange": "memq.t.acme", "queue": "memq.tenants.write", "reason": "rejected", "count": 1}],
}


async def test_forged_headers_and_reply_addresses_change_nothing(tenants: Tenants, mallory: AbstractConnection) -> None:
    """A dead letter is the sender's, and an answer goes to no queue of another."""
    names, acme = Names(tenants.amqp.prefix), TenantNames(tenants.amqp.prefix, "acme")
    with running_worker(tenants.amqp, **tenants.settings) as worker:
        async with await aio_pika.connect(tenants.url("acme")) as victim, channel_of(victim) as reading:
            inbox = await reading.declare_queue(acme.reply("inbox"), exclusive=True)
            await inbox.bind(acme.replies, inbox.name)
            async with channel_of(mallory) as channel:
                own = await channel.get_exchange(TenantNames(names.prefix, "mallory").commands, ensure=False)
                for address in (inbox.name, names.write, names.reply("x"), "amq.rabbitmq.reply-to.x"):
                    bad = aio_pika.Message(b"{}", headers=FORGED, reply_to=address, content_type="application/json")
                    await own.publish(bad, "upsert.notes")
                    await own.publish(bad, "collections.list")
            await until(lambda: len(worker.logged("delivery not applied", tenant="mallory")) >= 8)
            letters = await _letters(tenants)
            assert [letter["x-tenant"] for letter in letters] == ["mallory"] * 4
            assert {letter["x-retry-count"] for letter in letters} <= {0, 1}
            assert await inbox.get(fail=False) is None
            assert worker.logged("delivery not applied", tenant="acme") == []


async def test_a_header_that_is_sent_twice_claims_nothing(tenants: Tenants) -> None:
    """No client library sends one: bytes on a socket do. Both are removed from the copies of a worker."""
    twice = Table(table(**{"x-tenant": text(b"acme")}) * 2 + table(**{"x-lane": text(b"t.acme")}) * 2)
    address = replace(tenants.amqp, url=tenants.url("mallory"))
    with running_worker(tenants.amqp, **tenants.settings) as worker:
        async with raw(address) as stranger:
            await stranger.publish(b"upsert.notes", encode(Properties(headers=twice)), b"{}", "t.mallory")
        await until(lambda: worker.logged("delivery not applied", tenant="mallory"))
        (letter,) = await _letters(tenants)
        assert (letter["x-tenant"], letter["x-lane"]) == ("mallory", "tenants")


@pytest.mark.parametrize(
    "way", ["alternate exchange", pytest.param("binding between exchanges", marks=pytest.mark.slow)]
)
async def test_an_exchange_of_the_sender_s_own_in_front_gives_no_rights(
    tenants: Tenants, mallory: AbstractConnection, way: str
) -> None:
    """A tenant may declare exchanges named like its reply queues, and lead them to its own exchange.

    The broker names the first exchange of the way, which is none of memq's.
    """
    names = Names(tenants.amqp.prefix)
    with running_worker(tenants.amqp, **tenants.settings) as worker:
        async with Producer(tenants.url("acme"), tenant="acme") as acme, channel_of(mallory) as channel:
            await acme.collections.create("notes", size=2)
            attack = Attack(channel, tenants)
            front = attack.own.reply("front")
            if way == "alternate exchange":
                await attack.exchange(front, **{"alternate-exchange": attack.own.commands})
            else:
                await attack.exchange(front)
                await attack.link(attack.own.commands, front)
            for key in ("upsert.acme.notes", "upsert.notes"):
                await attack.publish(front, key, **{"x-tenant": "acme", "x-lane": "t.acme"})
            dropping = aio_pika.Message(b"{}", content_type="application/json")
            await (await channel.get_exchange(front, ensure=False)).publish(dropping, "collections.delete.acme.notes")
            await until(lambda: len(worker.logged("delivery not applied")) >= 3)
            assert {line["code"] for line in worker.logged("delivery not applied")} == {"forbidden"}
            assert (await acme.count("notes", exact=True)).count == 0
        async with Producer(tenants.amqp.url, prefix=names.prefix) as operator:
            assert [letter.tenant for letter in (await operator.dead.list()).letters] == ["", ""]
            assert (await operator.dead.replay()).done == 0


async def _letters(tenants: Tenants) -> list[dict[str, Any]]:
    async with await aio_pika.connect(tenants.amqp.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(Names(tenants.amqp.prefix).dead, ensure=False)
        found: list[dict[str, Any]] = []
        while (message := await queue.get(fail=False)) is not None:
            found.append(dict(message.headers))
        return found


TRUSTING = """
import sys
from memq_schemas import headers
from memq_schemas.tenants import Whose
Whose.sent = lambda self, exchange, given: given.get(headers.TENANT)
from memq_worker.entry import main
sys.argv = ["memq-worker", "run"]
main()
"""


async def test_a_worker_that_trusts_a_client_s_header_is_found(tenants: Tenants, mallory: AbstractConnection) -> None:
    """The mutant of `test_forged_headers_and_reply_addresses_change_nothing`."""
    own = TenantNames(tenants.amqp.prefix, "mallory")
    given = tenants.settings | {"metrics_port": 0, "worker_name": "mutant"}
    worker = WorkerProcess(given, program=[sys.executable, "-c", TRUSTING]).ready()
    try:
        async with channel_of(mallory) as channel:
            target = await channel.get_exchange(own.commands, ensure=False)
            await target.publish(aio_pika.Message(b"{}", headers=FORGED), "upsert.notes")
        await until(lambda: worker.logged("delivery not applied"))
        assert [letter["x-tenant"] for letter in await _letters(tenants)] == ["acme"]
    finally:
        worker.kill()


async def test_topic_permissions_do_not_hold_back_copies_to_other_keys(
    tenants: Tenants, mallory: AbstractConnection
) -> None:
    """The mutant of one exchange for all tenants: RabbitMQ before 4.0 checks the key and neither CC nor BCC."""
    if int(tenants.api("GET", "overview")["rabbitmq_version"].split(".")[0]) >= 4:
        pytest.skip("RabbitMQ 4.0 checks CC and BCC")
    shared, user, names = "shared.commands", tenants.user("mallory"), Names(tenants.amqp.prefix)
    tenants.api("PUT", tenants.here("permissions", user), {"configure": "", "write": ".*", "read": ""})
    allowed = {"exchange": shared, "write": r"^upsert\.mallory\.", "read": ""}
    tenants.api("PUT", tenants.here("topic-permissions", user), allowed)
    async with await aio_pika.connect(tenants.amqp.url) as operator, channel_of(operator) as making:
        exchange = await making.declare_exchange(shared, "topic")
        lane = await making.get_queue(next(iter(TenantNames(names.prefix, "acme").lanes.values())), ensure=False)
        await lane.bind(exchange, "upsert.acme.#")
        async with channel_of(mallory) as channel:
            with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
                await Attack(channel, tenants).publish(shared, "upsert.acme.notes")
        async with channel_of(mallory) as channel:
            target = await channel.get_exchange(shared, ensure=False)
            crossing = aio_pika.Message(BODY, headers={"CC": ["upsert.acme.notes"]})
            await target.publish(crossing, "upsert.mallory.notes", mandatory=False)
        assert (await _depths(tenants))[lane.name] == 1


@pytest.mark.parametrize("sender", ["mallory", pytest.param("acme", marks=pytest.mark.slow)])
async def test_a_letter_that_names_another_by_a_forged_death_is_not_replayed(
    tenants: Tenants, memq: Memq, sender: str
) -> None:
    """Both let a message expire. acme, whose lane is its own, claims to be mallory, and the other way round."""
    names = Names(tenants.amqp.prefix)
    own = TenantNames(names.prefix, sender)
    other = TenantNames(names.prefix, "acme" if sender == "mallory" else "mallory")
    queue = names.tenants_write if sender == "mallory" else next(iter(own.lanes.values()))
    death = {"exchange": other.commands, "queue": queue, "reason": "expired", "count": 0}
    async with await aio_pika.connect(tenants.url(sender)) as connection, channel_of(connection) as channel:
        target = await channel.get_exchange(own.commands, ensure=False)
        forged = aio_pika.Message(BODY, headers={"x-death": [death], "x-tenant": other.tenant}, expiration=0.001)
        await target.publish(forged, "upsert.notes")

        async def dead() -> bool:
            return (await _depths(tenants))[names.dead] == 1

        await until(dead)
    tally = (await asyncio.to_thread(memq, "dead", "replay", "--json")).stdout
    victim = list(other.lanes.values()) if other.tenant == "acme" else [names.tenants_write]
    depths = await _depths(tenants)
    assert [depths[each] for each in victim] == [0] * len(victim), tally
    if sender == "acme":
        assert depths[queue] == 1, "it has come back to its own lane"
