"""Policies that lose messages: what is reported agrees with what a real broker does."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import pytest
from memq_amqp.address import parse
from memq_amqp.management import Management, ManagementError, management

import stack.amqp
from memq import LetterAtRisk, Producer
from memq_schemas import Names, topology
from memq_schemas.policies import losses
from tests.support.broker import depth, take
from tests.support.command import Memq
from tests.support.dead import bury
from tests.support.responder import declare
from tests.support.until import until
from tests.support.worker import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aio_pika.abc import AbstractChannel

    from tests.support.broker import Address

pytestmark = pytest.mark.integration

SENT = 4


@pytest.fixture
def api(amqp: Address) -> Callable[..., Any]:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    parts = urlsplit(amqp.url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")

    def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return stack.amqp.management(method, f"{amqp.management_url}/api/{path}", user, password, body)

    return call


@pytest.fixture
def shown(amqp: Address) -> Iterator[Management]:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with management(amqp.management_url, parse(amqp.url)[0]) as shown:
        yield shown


@dataclass(frozen=True, slots=True)
class Case:
    """looks: at each message."""

    role: str
    definition: dict[str, Any]
    lost: bool
    looks: int = 0


CASES = (
    Case("dead", {}, lost=False, looks=4),
    Case("dead", {"max-length": 2}, lost=True),
    Case("dead", {"max-length": 2, "overflow": "reject-publish"}, lost=False),
    Case("dead", {"max-length-bytes": 6}, lost=True),
    Case("dead", {"message-ttl": 100}, lost=True),
    Case("dead", {"delivery-limit": 1}, lost=True, looks=4),
    Case("dead", {"delivery-limit": 1_000_000}, lost=False, looks=4),
    Case("dead", {"message-ttl": 100, "dead-letter-exchange": "nowhere"}, lost=True),
    Case("dead", {"delivery-limit": 1, "dead-letter-exchange": "nowhere"}, lost=True, looks=4),
    Case("dead", {"dead-letter-exchange": "nowhere", "dead-letter-strategy": "at-most-once"}, lost=False, looks=4),
    Case("write", {"message-ttl": 100, "dead-letter-exchange": "nowhere"}, lost=False),
    Case("suspect", {"message-ttl": 100, "dead-letter-exchange": "nowhere"}, lost=False),
    Case("retry.1", {"dead-letter-exchange": "nowhere", "dead-letter-strategy": "at-most-once"}, lost=False),
    Case("write", {"max-length": 2}, lost=False),
    Case("write", {"message-ttl": 100}, lost=False),
    Case("query", {"max-length": 2}, lost=True),
    Case("query", {"message-ttl": 100}, lost=True),
    Case("query", {"message-ttl": 90_000_000}, lost=False),
    Case("query", {"max-length": 2, "overflow": "reject-publish"}, lost=False),
    Case("retry.1", {"dead-letter-routing-key": "elsewhere"}, lost=True),
    Case("retry.1", {"message-ttl": 100}, lost=False),
    Case("retry.1", {"max-length": 2}, lost=False),
    Case("suspect", {"delivery-limit": 1}, lost=False, looks=4),
)


async def test_reported_losses_are_those_of_the_broker(
    amqp: Address, api: Callable[..., Any], shown: Management
) -> None:
    assert amqp.management_url is not None

    def put(number: int, definition: dict[str, Any]) -> None:
        if definition:
            pattern = f"^p{number}[.]{CASES[number].role}$"
            body = {"pattern": pattern, "definition": definition, "apply-to": "queues"}
            api("PUT", f"policies/{quote(amqp.vhost, safe='')}/p{number}", body)

    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        for number, case in enumerate(CASES):
            await declare(channel, f"p{number}")
            put(number, case.definition)
        reported = [
            bool([loss for queue in await shown.queues(amqp.vhost, f"p{n}") for loss in losses(queue, Names(f"p{n}"))])
            for n in range(len(CASES))
        ]
        confirmed = [await _publish(channel, Names(f"p{n}"), case) for n, case in enumerate(CASES)]
        lost = await asyncio.gather(*(_lost(amqp, Names(f"p{n}"), case, confirmed[n]) for n, case in enumerate(CASES)))
    assert list(zip(CASES, lost, strict=True)) == [(case, case.lost) for case in CASES]
    assert list(zip(CASES, reported, strict=True)) == [(case, case.lost) for case in CASES]


async def _publish(channel: AbstractChannel, names: Names, case: Case) -> int:
    """Publish to the queue of the case, under a key of a write. Return how many messages the broker confirmed."""
    queue = f"{names.prefix}.{case.role}"
    exchange = await channel.declare_exchange(f"{names.prefix}.in", "fanout")
    await (await channel.get_queue(queue, ensure=False)).bind(exchange)
    confirmed = 0
    for number in range(SENT):
        with suppress(aio_pika.exceptions.DeliveryError):
            await exchange.publish(aio_pika.Message(b"%d" % number * 3, delivery_mode=2), "upsert.docs")
            confirmed += 1
    return confirmed


async def _lost(amqp: Address, names: Names, case: Case, confirmed: int) -> bool:
    """Return True if confirmed messages are in the end neither in their queue nor at the end of their way."""
    queue = f"{names.prefix}.{case.role}"
    for _ in range(case.looks):
        await _look(amqp, queue)
    await asyncio.sleep(2.5)  # for what expires, whatever the policy says

    async def kept() -> int:
        return sum([await _count(amqp, each) for each in {queue, names.write, names.dead}])

    async def all_there() -> bool:
        return await kept() == confirmed

    with suppress(AssertionError):
        await until(all_there, within=8.0, every=0.5)
    return await kept() < confirmed


async def _count(amqp: Address, queue: str) -> int:
    try:
        return await depth(amqp, queue)
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return 0


async def _look(amqp: Address, queue: str) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        source = await (await connection.channel()).get_queue(queue, ensure=False)
        seen = [message for _ in range(SENT) if (message := await source.get(fail=False)) is not None]
        for message in seen:
            await message.nack(requeue=True)


async def test_an_expiring_queue_is_reported_and_goes_with_its_messages(
    amqp: Address, api: Callable[..., Any], shown: Management
) -> None:
    assert amqp.management_url is not None
    names = Names(amqp.prefix)

    def put(prefix: str, milliseconds: int) -> None:
        body = {"pattern": f"^{prefix}[.]", "definition": {"expires": milliseconds}, "apply-to": "queues"}
        api("PUT", f"policies/{quote(amqp.vhost, safe='')}/{prefix}", body)

    put(amqp.prefix, 600_000)
    put("gone", 500)
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        dead = await channel.declare_queue(Names("gone").dead, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"", delivery_mode=2), dead.name)
    found = [loss for queue in await shown.queues(amqp.vhost, amqp.prefix) for loss in losses(queue, names)]
    assert {loss.setting for loss in found} == {"expires"}
    assert len(found) == len(topology(amqp.prefix).queues)
    assert await _count(amqp, dead.name) == 0


async def test_an_alternate_exchange_is_reported_and_takes_what_no_queue_takes(
    amqp: Address, api: Callable[..., Any], shown: Management
) -> None:
    assert amqp.management_url is not None
    names = Names(amqp.prefix)
    body = {"pattern": ".*", "definition": {"alternate-exchange": "amq.fanout"}, "apply-to": "exchanges"}
    api("PUT", f"policies/{quote(amqp.vhost, safe='')}/astray%2Fand%20away", body)
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await declare(channel, amqp.prefix)
        elsewhere = await channel.declare_queue(exclusive=True)
        await elsewhere.bind("amq.fanout")
        commands = await channel.get_exchange(names.commands, ensure=False)
        # Confirmed, and no queue of memq's has it.
        await commands.publish(aio_pika.Message(b"", delivery_mode=2), "upsret.docs")
        assert await elsewhere.get(no_ack=True)
    found = await shown.losses(amqp.vhost, names, [])
    assert {each.queue for each in found} == {each.name for each in topology(amqp.prefix).exchanges}
    cause = "policy 'astray/and away' sets alternate-exchange to 'amq.fanout'"
    assert found[0].cause.startswith(cause)
    # The command says so, although there is no letter to look at.
    environ = os.environ | {"MEMQ_AMQP_URL": amqp.url, "MEMQ_PREFIX": amqp.prefix}
    for more, expected in ({"MEMQ_MANAGEMENT_URL": amqp.management_url}, cause), ({}, "policies of the queue unknown"):
        for words in (["list"], ["replay", "--dry-run"], ["purge", "--dry-run"], ["list", "--json"]):
            done = await asyncio.to_thread(
                subprocess.run,
                [Path(COMMAND).with_name("memq"), "dead", *words],
                env=environ | more,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, expected in done.stderr) == (0, True), done.stderr


@pytest.fixture
async def letters(amqp: Address) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        for number in range(SENT):
            await bury(channel, amqp.prefix, number)


@pytest.mark.usefixtures("letters")
async def test_check_names_a_policy_that_loses_messages(amqp: Address, api: Callable[..., Any], tmp_path: Path) -> None:
    def check(**variables: str) -> tuple[int, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")} | {
            "MEMQ_AMQP_URL": amqp.url,
            "MEMQ_PREFIX": amqp.prefix,
            "MEMQ_DATA_DIR": str(tmp_path),
            **variables,
        }
        done = subprocess.run([COMMAND, "check"], env=environ, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    url = amqp.management_url or ""
    code, said = await asyncio.to_thread(check)
    assert (code, "policies: unknown: set MEMQ_MANAGEMENT_URL" in said) == (0, True)
    code, said = await asyncio.to_thread(check, MEMQ_MANAGEMENT_URL=url)
    assert (code, "ok   policies" in said) == (0, True), said
    body = {"pattern": ".*", "definition": {"delivery-limit": 20}, "apply-to": "queues"}
    api("PUT", f"operator-policies/{quote(amqp.vhost, safe='')}/cap", body)

    async def named() -> bool:
        code, said = await asyncio.to_thread(check, MEMQ_MANAGEMENT_URL=url)
        return (code, "operator policy 'cap' sets delivery-limit to 20" in said) == (1, True)

    await until(named, every=1.0)
    # The user of the management API may be another, and its password is not shown.
    code, said = await asyncio.to_thread(check, MEMQ_MANAGEMENT_URL=url.replace("://", "://someone:s3cret@"))
    assert (code, "user 'someone' refused" in said, "s3cret" in said) == (1, True, False)


@pytest.mark.usefixtures("letters")
async def test_letters_are_not_looked_at_within_ten_looks_of_the_limit(
    amqp: Address, api: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, shown: Management
) -> None:
    assert amqp.management_url is not None
    dead = Names(amqp.prefix).dead

    async def limited(to: int) -> None:
        body = {"pattern": f"^{dead}$", "definition": {"delivery-limit": to}, "apply-to": "queues"}
        api("PUT", f"policies/{quote(amqp.vhost, safe='')}/limit", body)

        async def known() -> bool:
            return to in [queue.delivery_limit for queue in await shown.queues(amqp.vhost, amqp.prefix)]

        await until(known, every=0.5)

    await limited(12)
    async with Producer(amqp.url, prefix=amqp.prefix) as producer:
        listing = await producer.dead.list()  # nobody has said where policies are to be seen
        assert (len(listing.letters), bool(listing.tally.delivery_limit.unknown)) == (SENT, True)
        monkeypatch.setenv("MEMQ_MANAGEMENT_URL", amqp.management_url)
        listing = await producer.dead.list()
        assert (listing.tally.delivery_limit.limit, listing.tally.delivery_limit.unknown) == (12, "")
        # The letters have been delivered twice.
        with pytest.raises(LetterAtRisk):
            await producer.dead.list()
        await limited(10)
        before = await _deliveries(amqp, dead)
        for act in (producer.dead.list, producer.dead.replay, producer.dead.purge, lambda: producer.dead.find(1)):
            with pytest.raises(LetterAtRisk):
                await act()
        # The queue itself is too near: none of these calls looked.
        assert await _deliveries(amqp, dead) == before + SENT
        assert len((await producer.dead.list(force=True)).letters) == SENT
    memq = Memq(amqp)
    memq.environ["MEMQ_MANAGEMENT_URL"] = amqp.management_url
    told = await asyncio.to_thread(memq.fails, 1, "dead", "list")
    assert "policy 'limit'" in told
    assert await asyncio.to_thread(memq.ok, "dead", "list", "--force")
    assert len(await take(amqp, dead)) == SENT


async def _deliveries(amqp: Address, queue: str) -> int:
    """Return the deliveries of all letters before this look, in which each is delivered once."""
    async with await aio_pika.connect(amqp.url) as connection:
        source = await (await connection.channel()).get_queue(queue, ensure=False)
        seen = [await source.get() for _ in range(SENT)]
        for message in seen:
            await message.nack(requeue=True)
        return sum(int(str(message.headers.get("x-delivery-count") or 0)) for message in seen)


@pytest.mark.parametrize("url", ["ftp://host", "http://", "host:15672", "http://host:port"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ManagementError):
        management(url, parse("amqp://guest:guest@127.0.0.1/")[0])
