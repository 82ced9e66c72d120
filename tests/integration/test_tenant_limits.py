"""Limits of tenants on a real broker: what is beyond a rate waits, in the queue, and is neither lost nor refused."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import aio_pika
import orjson
import pytest

from memq import Producer, QuotaExceeded, RemoteError, Unconfirmed
from memq_schemas import headers
from memq_schemas.tenants import TenantNames
from tests.support.broker import depth
from tests.support.processes import stopped
from tests.support.scrape import scraped
from tests.support.tenants import Tenants, tenants_of
from tests.support.until import until
from tests.support.worker import free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

    from memq.changes import Row
    from memq_schemas.topology import Lane
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

RATE = 100


@pytest.fixture
def tenants(amqp: Address, engine: EmbeddedEngine, tmp_path: Path) -> Iterator[Tenants]:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with tenants_of(amqp, tmp_path, engine.url) as made:
        yield made


def rows(first: int, number: int) -> list[Row]:
    return [{"id": first + index, "vector": [1.0, float(index)]} for index in range(number)]


async def stored(producer: Producer) -> int:
    return (await producer.count("notes", exact=True)).count


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 10])
async def test_two_workers_share_a_rate_and_the_excess_waits_in_the_queue(
    tenants: Tenants, size: int, transport: str
) -> None:
    tenants.write("acme", "beta", tables={"acme": f"limits.points_per_second = {RATE}"})
    tenants.ok("apply")
    settings = {**tenants.settings, "transport": transport}
    with running_worker(tenants.amqp, **settings), running_worker(tenants.amqp, **settings):
        async with (
            Producer(tenants.url("acme"), tenant="acme") as acme,
            Producer(tenants.url("beta"), tenant="beta") as beta,
        ):
            await acme.collections.create("notes", size=2)
            await beta.collections.create("notes", size=2)
            await asyncio.sleep(2)  # until both workers have counted each other
            began = time.monotonic()
            for first in range(0, 6 * RATE, size):
                await acme.upsert("notes", rows(first, size))
            # Another tenant's write does not wait for them.
            await beta.upsert("notes", rows(0, 10), wait=True)
            assert await stored(acme) < 6 * RATE
            written = 0
            while written < 6 * RATE:
                written = await stored(acme)
                # One burst a worker, and what arrives before its consumer is cancelled.
                assert written <= RATE * 1.05 * (time.monotonic() - began) + RATE
                await asyncio.sleep(0.2)
    assert await depth(tenants.amqp, f"{tenants.amqp.prefix}.lane.acme") == 0
    assert await depth(tenants.amqp, f"{tenants.amqp.prefix}.dead") == 0


async def test_requests_beyond_a_limit_are_refused_by_its_name(tenants: Tenants) -> None:
    limits = (
        "limits.requests_per_second = 2\nlimits.stored_points = 5\nlimits.collections = 1\nlimits.message_bytes = 2000"
    )
    tenants.write("acme", tables={"acme": limits})
    tenants.ok("apply")
    port = free_port()
    with running_worker(tenants.amqp, **tenants.settings, metrics_port=port):
        async with Producer(tenants.url("acme"), tenant="acme") as acme:
            await acme.collections.create("notes", size=2)
            with pytest.raises(RemoteError, match="requests_per_second") as refused:
                await asyncio.gather(*(acme.count("notes") for _ in range(20)))
            assert refused.value.code == "overloaded"
            assert refused.value.retry_after is not None
            await asyncio.sleep(refused.value.retry_after + 0.5)
            with pytest.raises(RemoteError, match="collections: ") as refused:
                await acme.collections.create("others", size=2)
            assert refused.value.code == "quota_exceeded"
            await acme.upsert("notes", rows(0, 5), wait=True)
            await acme.upsert("notes", rows(0, 5), wait=True)
            with pytest.raises(RemoteError, match="stored_points") as refused:
                await acme.upsert("notes", rows(5, 1), wait=True)
            assert refused.value.code == "quota_exceeded"
            with pytest.raises(RemoteError, match="message_bytes") as refused:
                await acme.upsert("notes", rows(0, 200), wait=True)
            assert refused.value.code == "too_large"
            for limit in ("requests_per_second", "collections", "stored_points", "message_bytes"):
                assert await limited(port, "acme", limit) >= 1


async def test_a_flood_of_requests_delays_no_other_tenant(tenants: Tenants, transport: str) -> None:
    tenants.write("noisy", "quiet")
    tenants.ok("apply")
    settings = {**tenants.settings, "transport": transport}
    with running_worker(tenants.amqp, **settings) as worker, ExitStack() as stack:
        stack.enter_context(stopped(worker.process.pid))
        async with asking(tenants, "noisy", "quiet") as inbox:
            # All of them wait before the worker sees the first, so the order of arrival is known.
            await inbox.ask("noisy", 200)
            await inbox.ask("quiet", 1)
            stack.close()
            await asyncio.to_thread(worker.until, "request answered", 201)
        answered = [line["tenant"] for line in worker.logged("request answered")]
    assert answered.index("quiet") < 100


async def test_a_tenant_has_a_part_of_a_worker_s_requests(tenants: Tenants) -> None:
    """Refuse requests above the limit, so that other tenants' requests find room."""
    tenants.write("noisy", "quiet")
    tenants.ok("apply")
    port = free_port()
    settings = {**tenants.settings, "request_prefetch": 2, "metrics_port": port}
    with running_worker(tenants.amqp, **settings) as worker, ExitStack() as stack:
        stack.enter_context(stopped(worker.process.pid))
        async with asking(tenants, "noisy", "quiet") as inbox:
            await inbox.ask("noisy", 100)
            await inbox.ask("quiet", 1)
            stack.close()
            await inbox.answers(101)
        counted = await limited(port, "noisy", "concurrency")
    refused = [error for error in inbox.errors["noisy"] if error is not None]
    assert 0 < len(refused) < 100
    assert {(error["code"], error["message"].split(":")[0], error["retry_after"] > 0) for error in refused} == {
        ("overloaded", "concurrency", True)
    }
    assert counted == len(refused)
    assert inbox.errors["quiet"] == [None]


async def test_two_workers_share_the_requests_that_may_be_unanswered(tenants: Tenants, engine: EmbeddedEngine) -> None:
    tenants.write("acme", tables={"acme": "limits.concurrency = 8"})
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings), running_worker(tenants.amqp, **tenants.settings):
        async with asking(tenants, "acme") as inbox:

            async def eight_accepted() -> bool:
                """Return True if 8 of 40 requests are not refused while the store answers none."""
                inbox.errors["acme"].clear()
                with stopped(engine.pid):
                    await inbox.ask("acme", 40)
                    # As many are refused before a worker knows that there is another.
                    await inbox.answers(24)
                    with suppress(AssertionError):
                        await until(lambda: len(inbox.errors["acme"]) == 32, within=2)
                await inbox.answers(16)
                return sum(error is None for error in inbox.errors["acme"]) == 8

            # Each worker reads once a second how many there are.
            await until(eight_accepted, within=30)


class Inbox:
    """Requests of tenants, each sent by its own user, and their answers."""

    def __init__(self, prefix: str, channels: dict[str, AbstractChannel]) -> None:
        self.errors: dict[str, list[Any]] = defaultdict(list)
        self._prefix = prefix
        self._channels = channels
        self._arrived = asyncio.Semaphore(0)

    async def open(self) -> None:
        for tenant, channel in self._channels.items():
            reply = TenantNames(self._prefix, tenant).reply("inbox")
            queue = await channel.declare_queue(reply, exclusive=True)
            await queue.bind(TenantNames(self._prefix, tenant).replies, reply)

            async def take(message: AbstractIncomingMessage, tenant: str = tenant) -> None:
                self.errors[tenant].append(orjson.loads(message.body).get("error"))
                self._arrived.release()

            await queue.consume(take, no_ack=True)

    async def ask(self, tenant: str, number: int) -> None:
        """List the tenant's collections so many times. Returns once the broker has the requests."""
        names = TenantNames(self._prefix, tenant)
        exchange = await self._channels[tenant].get_exchange(names.commands, ensure=False)
        for _ in range(number):
            message = aio_pika.Message(b"{}", content_type=headers.JSON, priority=4, reply_to=names.reply("inbox"))
            await exchange.publish(message, "collections.list")

    async def answers(self, number: int) -> None:
        async with asyncio.timeout(60):
            for _ in range(number):
                await self._arrived.acquire()


@asynccontextmanager
async def asking(tenants: Tenants, *names: str) -> AsyncIterator[Inbox]:
    async with AsyncExitStack() as stack:
        channels: dict[str, AbstractChannel] = {}
        for name in names:
            connection = await stack.enter_async_context(await aio_pika.connect(tenants.url(name)))
            channels[name] = await connection.channel()
        inbox = Inbox(tenants.amqp.prefix, channels)
        await inbox.open()
        yield inbox


async def limited(port: int, tenant: str, limit: str) -> float:
    """Return how often a limit has held a tenant back."""
    scrape = await asyncio.to_thread(scraped, port)
    return scrape.total("memq_tenant_limited_total", tenant=tenant, limit=limit)


FULL = 20_000


def payload(identifier: int) -> list[Row]:
    return [{"id": identifier, "vector": [1.0, 0.0], "payload": {"text": "x" * 2000}}]


async def filled(producer: Producer, lane: Lane) -> tuple[int, Unconfirmed]:
    """Send writes until one is not accepted. Return how many were, and the error."""
    for identifier in range(200):
        try:
            await producer.upsert("notes", payload(identifier), lane=lane)
        except Unconfirmed as error:
            return identifier, error
    pytest.fail("the lane takes any number of bytes")


@pytest.mark.parametrize("lane", ["live", pytest.param("bulk", marks=pytest.mark.slow)])
async def test_a_full_lane_raises_the_name_of_its_limit_and_takes_writes_again(
    tenants: Tenants, transport: Literal["fast", "stock"], lane: Lane
) -> None:
    tenants.write("acme", tables={"acme": f"limits.backlog_bytes = {FULL}\nlimits.points_per_second = 0.1"})
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings, transport=transport):
        async with Producer(tenants.url("acme"), tenant="acme", transport=transport) as acme:
            await acme.collections.create("notes", size=2)
            sent, refused = await filled(acme, lane)
            assert isinstance(refused, QuotaExceeded)
            assert refused.limit == "backlog_bytes"
            assert sent >= FULL // 2500
            reached = {limit.lane: limit.reached for limit in await acme.limits() if limit.name == "backlog_bytes"}
            assert reached == {"live": lane == "live", "bulk": lane == "bulk"}
            # The other lane has room: a limit that is reached holds back no other lane.
            await acme.upsert("notes", payload(1000), lane="bulk" if lane == "live" else "live")
            tenants.write("acme", tables={"acme": f"limits.backlog_bytes = {FULL}"})
            tenants.ok("apply")
            await until(lambda: count_is(acme, sent + 1))
            await acme.upsert("notes", payload(1001), lane=lane)
            await until(lambda: count_is(acme, sent + 2))
    assert await depth(tenants.amqp, f"{tenants.amqp.prefix}.dead") == 0


async def count_is(producer: Producer, wanted: int) -> bool:
    return await stored(producer) == wanted


async def test_a_full_lane_without_a_worker_names_both_causes(tenants: Tenants) -> None:
    tenants.write("acme", tables={"acme": f"limits.backlog_bytes = {FULL}"})
    tenants.ok("apply")
    async with Producer(tenants.url("acme"), tenant="acme", timeout=0.5, confirm_timeout=2) as acme:
        _, refused = await filled(acme, "live")
    assert type(refused) is Unconfirmed
    assert "backlog_bytes" in str(refused)
    assert "leader" in str(refused)


async def test_the_limits_of_a_tenant_are_told_to_it_alone(tenants: Tenants) -> None:
    limits = """limits.points_per_second = 100
limits.concurrency = 10
limits.stored_points = 5
limits.collections = 1
limits.message_bytes = 2000
limits.backlog_bytes = 10000000"""
    tenants.write("acme", "beta", tables={"acme": limits})
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings):
        async with (
            Producer(tenants.url("acme", "read"), tenant="acme") as reader,
            Producer(tenants.url("acme"), tenant="acme") as acme,
            Producer(tenants.url("beta"), tenant="beta") as beta,
            Producer(tenants.amqp.url, prefix=tenants.amqp.prefix) as operator,
        ):
            await acme.collections.create("notes", size=2)
            await acme.upsert("notes", rows(0, 5), wait=True)
            found = {(limit.name, limit.lane): limit for limit in await reader.limits()}
            assert list(await beta.limits()) == list(await operator.limits()) == []
    told = {key: (limit.limit, limit.used, limit.reached) for key, limit in found.items()}
    rate = told.pop(("points_per_second", None))
    assert rate[0] == 100
    assert told == {
        ("concurrency", None): (10, None, False),
        ("stored_points", None): (5, 5, True),
        ("collections", None): (1, 1, True),
        ("message_bytes", None): (2000, None, None),
        ("backlog_bytes", "live"): (10_000_000, None, False),
        ("backlog_bytes", "bulk"): (10_000_000, None, False),
    }
