"""Replies of a worker: how large they may be, where they go, and how long they wait there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aio_pika
import aiormq
import numpy as np
import pytest

from memq import Producer, RemoteError
from memq_schemas import Names, headers
from tests.support.broker import take
from tests.support.processes import peak_rss_mib
from tests.support.until import until
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


@pytest.fixture
def worker(amqp: Address, engine: EmbeddedEngine) -> Iterator[WorkerProcess]:
    with running_worker(amqp, qdrant_url=engine.url) as worker:
        yield worker


def producer_of(amqp: Address, **more: Any) -> Producer:
    return Producer(amqp.url, prefix=amqp.prefix, timeout=30, **more)


async def test_a_reply_beyond_the_limit_is_one_error_that_says_what_to_ask_instead(
    amqp: Address, worker: WorkerProcess
) -> None:
    vectors = np.random.default_rng(1).random((1200, 1536), dtype=np.float32)
    ids = list(range(1200))
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 1536)
        await producer.upsert("docs", ids=ids, vectors=vectors, wait=True)
        before = peak_rss_mib(worker.process.pid)
        refused = await asyncio.gather(
            producer.get("docs", ids, with_vector=True),
            producer.query("docs", vectors[0], limit=1200, with_vector=True),
            return_exceptions=True,
        )
        for error in refused:
            assert isinstance(error, RemoteError)
            assert (error.code, error.status, error.retryable) == ("too_large", 413, False)
            assert "8388608 bytes" in str(error)
            assert "with_vector" in str(error)
        assert len(await producer.get("docs", ids)) == 1200
        some = await producer.get("docs", ids[:200], with_vector=True)
        assert [point.id for point in some] == ids[:200]
        assert len(await producer.query("docs", vectors[0], limit=200, with_vector=True)) == 200
    assert peak_rss_mib(worker.process.pid) - before < 150
    assert worker.terminate() == 0


FORGED = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA0NzY5.AAAA=="


async def ask(amqp: Address, reply_to: str, correlation_id: str, **properties: Any) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(Names(amqp.prefix).commands, ensure=False)
        message = aio_pika.Message(b"{}", reply_to=reply_to, correlation_id=correlation_id, **properties)
        await exchange.publish(message, "collections.list")


async def test_forged_addresses_cost_no_neighbour_an_answer_or_a_second_one(
    amqp: Address, worker: WorkerProcess
) -> None:
    answers: list[str] = []
    connection = await aiormq.connect(amqp.url)
    try:
        channel = await connection.channel()
        queue = (await channel.queue_declare(exclusive=True)).queue or ""

        async def arrived(message: aiormq.abc.DeliveredMessage) -> None:
            answers.append(message.header.properties.correlation_id or "")

        await channel.basic_consume(queue, arrived, no_ack=True)
        for number in range(6):
            await ask(amqp, FORGED, "forged")
            for each in range(10):
                await ask(amqp, queue, f"{number}.{each}")

        async def all_there() -> bool:
            return len(answers) >= 60

        await until(all_there, within=20)
    finally:
        await connection.close()
    assert sorted(answers) == sorted(f"{number}.{each}" for number in range(6) for each in range(10))
    assert len(worker.logged("worker ready")) == 1
    assert worker.terminate() == 0


async def test_a_direct_reply_reaches_its_caller(amqp: Address, worker: WorkerProcess) -> None:
    arrived: asyncio.Queue[str] = asyncio.Queue()
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        direct = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)

        async def take_one(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            arrived.put_nowait(message.correlation_id or "")

        await direct.consume(take_one, no_ack=True)
        exchange = await channel.get_exchange(Names(amqp.prefix).commands, ensure=False)
        for name in ("first", "second"):
            message = aio_pika.Message(b"{}", reply_to="amq.rabbitmq.reply-to", correlation_id=name)
            await exchange.publish(message, "collections.list")
            async with asyncio.timeout(20):
                assert await arrived.get() == name
    assert worker.terminate() == 0


@pytest.mark.parametrize(("after", "most"), [(None, 90), (10, 10), (20 * 365 * 86_400, 30 * 86_400)])
async def test_a_reply_expires_with_its_request(
    after: int | None, most: int, amqp: Address, engine: EmbeddedEngine
) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"{amqp.prefix}.reply.unread", durable=True)

        async def answered() -> bool:
            return bool((await queue.declare()).message_count)

        with running_worker(amqp, qdrant_url=engine.url, reply_ttl_seconds=90):
            deadline = {} if after is None else {headers.DEADLINE: int((time.time() + after) * 1000)}
            await ask(amqp, queue.name, "asked", headers=deadline)
            await until(answered, within=10)
            (reply,) = await take(amqp, queue.name)
    assert isinstance(reply.expiration, int | float)
    assert most - 9 <= reply.expiration <= most


async def test_a_request_of_a_late_clock_is_answered_and_the_skew_named(amqp: Address, worker: WorkerProcess) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        queue = await (await connection.channel()).declare_queue(f"{amqp.prefix}.reply.asker", durable=True)

        async def answered() -> bool:
            return bool((await queue.declare()).message_count)

        late = {headers.DEADLINE: int((time.time() - 7200) * 1000)}
        await ask(amqp, queue.name, "without expiration", headers=late)
        await ask(amqp, queue.name, "with expiration", headers=late, expiration=20)
        await until(answered, within=10)
        (reply,) = await take(amqp, queue.name)
    assert reply.correlation_id == "with expiration"
    line = await asyncio.to_thread(worker.until, "clock of a sender skewed, deadline replaced")
    assert line["late_seconds"] >= 7200
    assert worker.terminate() == 0
