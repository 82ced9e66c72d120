"""The worker against a real broker and a real engine: what is refused, retried, held, handed back and survived."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import aio_pika
import numpy as np
import pytest

from memq import Producer, RemoteError
from memq_schemas import Names, headers
from stack.broker import Broker
from tests.support.broker import depth, own_address, take
from tests.support.processes import stopped
from tests.support.until import until
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Server
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


@pytest.fixture
def worker(amqp: Address, engine: EmbeddedEngine) -> Iterator[WorkerProcess]:
    with running_worker(amqp, qdrant_url=engine.url, store_timeout_seconds=3, drain_seconds=8) as worker:
        yield worker


def producer_of(amqp: Address, **more: Any) -> Producer:
    return Producer(amqp.url, prefix=amqp.prefix, timeout=20, **more)


async def publish(amqp: Address, key: str, body: bytes, **properties: Any) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(f"{amqp.prefix}.commands", ensure=False)
        await exchange.publish(aio_pika.Message(body, delivery_mode=2, **properties), key)


async def unsettled(amqp: Address) -> int:
    names = Names(amqp.prefix)
    return sum([await depth(amqp, queue) for queue in (names.write, names.suspect, names.retry(1))])


async def test_a_message_without_a_readable_body_is_a_dead_letter_that_says_why(
    amqp: Address, worker: WorkerProcess
) -> None:
    names = Names(amqp.prefix)
    hostile = {
        "upsert.docs": b"\xff\xfe not json",
        "upsert": b'{"points":[{"id":1,"vector":[1]}]}',
        "upsert.docs.x": b"[" * 100_000,
        "delete.docs": b'{"filter":{}}',
        "payload.docs": b'{"ids":[1],"set":{"_version":1}}',
    }
    for key, body in hostile.items():
        await publish(amqp, key, body, content_type="application/json")
    await publish(amqp, "upsert.zip", b"x", content_type="application/json", content_encoding="gzip")
    await until(lambda: depth_is(amqp, names.dead, 6), within=20)
    dead = {message.routing_key: message for message in await take(amqp, names.dead)}
    codes = {key: message.headers[headers.ERROR_CODE] for key, message in dead.items()}
    assert codes == {
        "upsert.docs": "malformed",
        "upsert": "invalid_collection",
        "upsert.docs.x": "invalid",
        "delete.docs": "invalid",
        "payload.docs": "invalid_payload",
        "upsert.zip": "unsupported_content",
    }
    assert dead["upsert.docs"].body == hostile["upsert.docs"], "a dead letter is what was sent, unchanged"
    assert worker.process.poll() is None
    assert await unsettled(amqp) == 0


async def depth_is(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count


async def test_an_outage_of_the_store_holds_writes_answers_requests_and_loses_nothing(
    amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess
) -> None:
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 4)
        engine.kill()
        await producer.upsert("docs", ids=range(500), vectors=np.ones((500, 4)))
        worker.until("store unavailable, writes held")
        with pytest.raises(RemoteError) as caught:
            await producer.query("docs", [1.0, 0.0, 0.0, 0.0])
        assert (caught.value.status, caught.value.code, caught.value.retryable) == (503, "store_unavailable", True)
        assert caught.value.retry_after is not None
        for queue in (Names(amqp.prefix).dead, Names(amqp.prefix).retry(1)):
            assert await depth(amqp, queue) == 0, "an outage spends no attempts"
        engine.start()
        worker.until("store available, writes resumed")
        await until(lambda: count_is(producer, "docs", 500), within=20)


async def count_is(producer: Producer, collection: str, count: int) -> bool:
    return (await producer.count(collection)).count == count


async def test_a_store_that_hangs_gives_an_error_and_not_a_hang(
    amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess
) -> None:
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 4)
        with stopped(engine.process.pid):
            with pytest.raises(RemoteError) as caught:
                await producer.query("docs", [1.0, 0.0, 0.0, 0.0])
            assert caught.value.status in (429, 503, 504)
            assert caught.value.retryable
        await until(lambda: count_is(producer, "docs", 0), within=20)


async def test_a_soft_stop_finishes_hands_back_and_exits_with_zero(
    amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess
) -> None:
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 8)
        await producer.upsert("docs", ids=range(20_000), vectors=np.ones((20_000, 8)))
        worker.until("batch written")
        assert worker.terminate() == 0, worker.text
        assert worker.logged("worker drained")[0]["unsettled"] == 0
        left = await unsettled(amqp)
        with running_worker(amqp, qdrant_url=engine.url):
            await until(lambda: count_is(producer, "docs", 20_000), within=30)
        assert left * 100 < 20_000, "what was in flight was finished"


async def test_a_second_signal_stops_at_once_and_nothing_is_lost(
    amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess
) -> None:
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 4)
        with stopped(engine.process.pid):
            await producer.upsert("docs", ids=range(100), vectors=np.ones((100, 4)))
            await until(lambda: unsettled_is(amqp, 0), within=20)  # taken by the worker
            worker.process.send_signal(signal.SIGTERM)
            worker.until("worker draining")
            worker.process.send_signal(signal.SIGTERM)
            worker.until("worker stopped before drained")
            worker.ended()
        with running_worker(amqp, qdrant_url=engine.url):
            await until(lambda: count_is(producer, "docs", 100), within=20)


async def unsettled_is(amqp: Address, count: int) -> bool:
    return await unsettled(amqp) == count


async def test_a_killed_worker_loses_nothing(amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess) -> None:
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 8)
        sending = asyncio.create_task(producer.upsert("docs", ids=range(20_000), vectors=np.ones((20_000, 8))))
        await asyncio.to_thread(worker.until, "batch written")
        worker.kill()
        await sending
        with running_worker(amqp, qdrant_url=engine.url):
            await until(lambda: count_is(producer, "docs", 20_000), within=30)
            await until(lambda: unsettled_is(amqp, 0), within=20)
        assert await depth(amqp, Names(amqp.prefix).dead) == 0


async def test_two_workers_share_the_queue(amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess) -> None:
    with running_worker(amqp, qdrant_url=engine.url, worker_name="second", prefetch=2) as second:
        async with producer_of(amqp) as producer:
            await producer.collections.create("docs", 8)
            await producer.upsert("docs", ids=range(40_000), vectors=np.ones((40_000, 8)))
            await until(lambda: count_is(producer, "docs", 40_000), within=40)
        worker.until("batch written")
        second.until("batch written")


async def test_the_worker_comes_back_by_itself_when_the_broker_does(server: Server, engine: EmbeddedEngine) -> None:
    broker = Broker(server.amqp_url, server.management_url, server.prometheus_url, server.version, "tested")
    with (
        own_address(broker) as address,
        running_worker(address, qdrant_url=engine.url, amqp_timeout_seconds=3) as worker,
    ):
        async with producer_of(address) as producer:
            await producer.collections.create("docs", 4)
            await producer.upsert("docs", ids=range(100), vectors=np.ones((100, 4)))
            await until(lambda: count_is(producer, "docs", 100), within=30)
            await asyncio.sleep(4)  # RabbitMQ 3.10 killed sooner forgets a queue that it has just declared
            server.kill()
            worker.until("RabbitMQ connection lost")
            server.start()
            worker.ready(sessions=2)
            await producer.upsert("docs", ids=range(100, 200), vectors=np.ones((100, 4)))
            await until(lambda: count_is(producer, "docs", 200), within=30)
        assert worker.terminate() == 0


async def test_a_consumer_cancelled_by_the_broker_is_repaired(
    amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess
) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(Names(amqp.prefix).query, ensure=False)
        await queue.delete(if_unused=False, if_empty=False)
    worker.ready(sessions=2)
    async with producer_of(amqp) as producer:
        assert (await producer.collections.list()).names == []


async def test_a_dead_letter_is_replayed_by_publishing_it_again(
    amqp: Address, engine: EmbeddedEngine, worker: WorkerProcess
) -> None:
    names = Names(amqp.prefix)
    async with producer_of(amqp) as producer:
        await producer.upsert("later", [{"id": 1, "vector": [1.0, 2.0]}])
        await until(lambda: depth_is(amqp, names.dead, 1))
        (dead,) = await take(amqp, names.dead)
        assert dead.headers[headers.ERROR_CODE] == "unknown_collection"
        assert dead.headers[headers.ORIGINAL_QUEUE] == names.write
        assert dead.routing_key == "upsert.later"
        await producer.collections.create("later", 2)
        await publish(amqp, dead.routing_key or "", dead.body, content_type=dead.content_type)
        await until(lambda: count_is(producer, "later", 1))
