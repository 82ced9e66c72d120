"""The outbox with a real broker: what it has accepted arrives, in order, whoever is killed or away in between."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import orjson
import pytest

from memq import ConfigurationError, OutboxFull, PointRow, Producer, Receipt, ReplyTimeout, Unconfirmed, trace_context
from memq_schemas import Names, Operation, headers
from tests.support.broker import take
from tests.support.responder import declare, responder
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.broker import Address

pytestmark = pytest.mark.integration

CHILD = Path(__file__).resolve().parents[1] / "support" / "outbox_child.py"
SEED = 20261124
KILLS = 10
KEYS = 8


@pytest.fixture
async def declared(amqp: Address) -> AsyncIterator[Address]:
    async with await aio_pika.connect(amqp.url) as connection:
        await declare(await connection.channel(), amqp.prefix)
        yield amqp


@pytest.fixture
def proxy(amqp: Address) -> Iterator[TcpProxy]:
    with tcp_proxy(amqp.url) as proxy:
        yield proxy


def point(number: int) -> PointRow:
    return {"id": number, "vector": [1.0, 2.0]}


async def arrived(address: Address) -> list[Any]:
    return [orjson.loads(message.body) for message in await take(address, Names(address.prefix).write)]


async def test_with_a_broker_writes_go_through_and_leaving_waits_for_them(declared: Address, tmp_path: Path) -> None:
    async with Producer(
        declared.url, prefix=declared.prefix, outbox=tmp_path / "outbox", max_points_per_message=1
    ) as memq:
        told = await memq.upsert("docs", [point(number) for number in range(200)])
        assert told == Receipt(200, 200, stored=True)
        assert await memq.delete("docs", [5]) == Receipt(1, 1, stored=True)
    bodies = await arrived(declared)
    assert [body["points"][0]["id"] for body in bodies[:-1]] == list(range(200))
    assert bodies[-1] == {"ids": [5]}


async def test_without_a_broker_writes_are_taken_to_a_limit_and_sent_when_it_is_back(
    declared: Address, proxy: TcpProxy, tmp_path: Path
) -> None:
    proxy.refuse()
    url = proxy.url(declared.url)
    async with Producer(
        url, prefix=declared.prefix, outbox=tmp_path / "outbox", timeout=0.5, outbox_bytes=100_000
    ) as memq:
        assert not memq.connected
        assert (await memq.upsert("docs", [point(1)])).stored
        with pytest.raises(ReplyTimeout, match="no connection to RabbitMQ"):
            await memq.count("docs")
        with pytest.raises(OutboxFull) as caught:
            await memq.upsert("docs", ((number, [1.0], {"a": "x" * 5000}) for number in range(10_000)))
        assert caught.value.points is not None
        assert memq.outbox is not None
        assert memq.outbox.size <= 100_000
        with pytest.raises(Unconfirmed, match=r"still in the outbox"):
            await memq.flush(0.2)
        proxy.refuse(False)
        await memq.flush(30)
        assert memq.outbox.messages == 0
    assert (await arrived(declared))[0]["points"][0]["id"] == 1


def trace(number: int) -> str:
    return f"00-{number:032x}-b7ad6b7169203331-01"


async def test_a_write_keeps_the_trace_in_which_it_was_taken(
    declared: Address, proxy: TcpProxy, tmp_path: Path
) -> None:
    proxy.refuse()
    producer = Producer(proxy.url(declared.url), prefix=declared.prefix, outbox=tmp_path / "outbox", timeout=0.5)
    with trace_context(trace(1)):
        memq = await producer.__aenter__()
    with trace_context(trace(2)):
        await memq.upsert("docs", [point(2)])
    await memq.upsert("docs", [point(3)])
    proxy.refuse(False)
    await memq.flush()
    await producer.__aexit__(None, None, None)
    first, second = await take(declared, Names(declared.prefix).write)
    # The first 35 characters are the trace's; with OpenTelemetry the rest is the span of the publish.
    assert str(first.headers[headers.TRACEPARENT])[:35] == trace(2)[:35]
    assert str(second.headers.get(headers.TRACEPARENT, ""))[:35] not in (trace(1)[:35], trace(2)[:35])


async def test_a_wrong_password_is_told_at_the_start(declared: Address, tmp_path: Path) -> None:
    wrong = declared.url.replace("amqp://memq:", "amqp://memq:no")
    with pytest.raises(ConfigurationError, match="user or password"):
        await Producer(wrong, prefix=declared.prefix, outbox=tmp_path / "outbox", timeout=30).__aenter__()
    async with Producer(declared.url, prefix=declared.prefix, outbox=tmp_path / "outbox") as memq:
        assert memq.connected


async def test_a_write_that_waits_for_its_answer_does_not_overtake(
    amqp: Address, proxy: TcpProxy, tmp_path: Path
) -> None:
    async with responder(amqp.url, amqp.prefix) as worker:
        proxy.refuse()
        async with Producer(
            proxy.url(amqp.url), prefix=amqp.prefix, outbox=tmp_path / "outbox", timeout=30, max_points_per_message=1
        ) as memq:
            # More than is sent at once.
            await memq.upsert("docs", [point(number) for number in range(300)])
            waiting = asyncio.create_task(memq.upsert("docs", [point(300)], wait=True))
            await asyncio.sleep(0)
            proxy.refuse(False)
            assert (await waiting).applied
    order = [body["points"][0]["id"] for body in worker.bodies(Operation.UPSERT)]
    assert set(order) == set(range(301))
    assert order.index(300) == len(order) - 1


@pytest.mark.slow
async def test_a_producer_killed_again_and_again_loses_nothing_that_it_accepted(
    declared: Address, proxy: TcpProxy, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    accepted: dict[int, list[int]] = defaultdict(list)
    # Killed after it was stored and before it was told: the next one goes on past it.
    tried: dict[int, int] = dict.fromkeys(range(KEYS), 0)
    for _ in range(KILLS):
        # Half of the time the broker is away, and comes back or goes while the producer works.
        proxy.refuse(chance.random() < 0.5)
        values = ",".join(str(tried[key]) for key in range(KEYS))
        child = await asyncio.create_subprocess_exec(
            sys.executable, str(CHILD), proxy.url(declared.url), declared.prefix, str(tmp_path / "outbox"), values,
            stdout=PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        assert await child.stdout.readline() == b"open\n"
        count, left = 0, chance.randint(1, 300)
        async for line in child.stdout:
            key, value = map(int, line.split())
            accepted[key].append(value)
            count += 1
            if count == left // 2:
                proxy.refuse(chance.random() < 0.5)
                if chance.random() < 0.5:
                    proxy.reset()
            if count == left:
                child.kill()
        await child.wait()
        for key in range(KEYS):
            # One may have been under way when it was killed, stored or not.
            tried[key] = max(accepted[key], default=tried[key]) + 1
    proxy.refuse(False)
    async with Producer(declared.url, prefix=declared.prefix, outbox=tmp_path / "outbox") as memq:
        await memq.flush(60)

    queued: dict[int, list[int]] = defaultdict(list)
    for body in await arrived(declared):
        queued[body["points"][0]["id"]].append(body["points"][0]["payload"]["n"])
    assert sum(map(len, accepted.values())) > KILLS
    for key, values in accepted.items():
        assert set(values) <= set(queued[key]), "accepted and lost"
        seen = queued[key]
        last = sorted(set(seen), key=lambda value: len(seen) - seen[::-1].index(value))
        assert last == sorted(last), "out of order"
