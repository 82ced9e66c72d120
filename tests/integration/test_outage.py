"""Long outages of the store: what is handed back, what is not charged for it, and what goes on by itself afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aio_pika
import numpy as np
import pytest

from memq import Producer, RemoteError
from memq_schemas import Names
from tests.support.broker import depth
from tests.support.tcp_proxy import tcp_proxy
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


async def count_is(producer: Producer, count: int) -> bool:
    try:
        return (await producer.count("docs")).count == count
    except RemoteError:
        return False  # the worker has not yet noticed that the store is back


async def depth_is(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count


async def test_writes_are_handed_back_before_the_broker_takes_them_and_taken_again_when_the_store_is_back(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    names = Names(amqp.prefix)
    settings = {"consumer_timeout_seconds": 6, "drain_seconds": 4, "store_timeout_seconds": 2}
    with running_worker(amqp, qdrant_url=engine.url, **settings) as worker:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20, max_points_per_message=1) as producer:
            await producer.collections.create("docs", 4)
            for outage in (1, 2):
                engine.kill()
                await producer.upsert("docs", ids=range(50 * outage), vectors=np.ones((50 * outage, 4)))
                worker.until("writes released", count=outage)
                await until(lambda n=50 * outage: depth_is(amqp, names.write, n), within=20)
                engine.start()
                await until(lambda n=50 * outage: count_is(producer, n), within=30)
            assert await depth(amqp, names.dead) == 0
            assert not worker.logged("delivery not applied", op="upsert"), "nothing was charged for it"
            assert len(worker.logged("worker ready")) == 1, "on the same connection"


async def test_a_suspect_is_not_given_up_for_an_outage_or_for_lost_connections_during_one(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    names = Names(amqp.prefix)
    with (
        tcp_proxy(amqp.url) as proxy,
        running_worker(
            amqp,
            amqp_url=proxy.url(amqp.url),
            qdrant_url=engine.url,
            consumer_timeout_seconds=8,
            drain_seconds=4,
            store_timeout_seconds=2,
        ) as worker,
    ):
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            await producer.collections.create("docs", 2)
            engine.kill()
            async with await aio_pika.connect(amqp.url) as connection:
                channel = await connection.channel()
                exchange = await channel.get_exchange(names.suspect, ensure=False)
                for number in range(3):
                    body = b'{"points":[{"id":%d,"vector":[1,1]}]}' % number
                    await exchange.publish(aio_pika.Message(body, delivery_mode=2), "upsert.docs")
            worker.until("store unavailable, writes held")
            # More often than the suspects' queue lets a message come back.
            for session in range(2, 8):
                await until(lambda: depth_is(amqp, names.suspect, 3), within=20)
                proxy.reset()
                worker.ready(sessions=session)
            await until(lambda: depth_is(amqp, names.suspect, 3), within=20)
            engine.start()
            await until(lambda: count_is(producer, 3), within=30)
            assert await depth(amqp, names.dead) == 0
