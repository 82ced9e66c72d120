"""The bulk lane on a real broker: chosen by the exchange, kept through retries, replaced where it is missing."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from memq import Producer
from memq.errors import InvalidRequest
from memq_schemas import Names, topology
from tests.support.worker import COMMAND, running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration


async def declared(
    amqp: Address, *, without: tuple[str, ...] = (), order: Any = "relaxed"
) -> aio_pika.abc.AbstractConnection:
    layout = topology(amqp.prefix, order=order)
    connection = await aio_pika.connect(amqp.url)
    channel = await (await connection.channel()).get_underlay_channel()
    for exchange in layout.exchanges:
        if exchange.name not in without:
            await channel.exchange_declare(exchange.name, exchange_type=exchange.kind, durable=True)
    for queue in layout.queues:
        await channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
    for binding in layout.bindings:
        if binding.exchange not in without:
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key, arguments=binding.arguments)
    return connection


async def waiting(connection: aio_pika.abc.AbstractConnection, queue: str) -> int:
    async with connection.channel() as channel:
        declared = await (await channel.get_underlay_channel()).queue_declare(queue, passive=True)
        return declared.message_count or 0


async def test_the_lane_is_chosen_by_the_exchange(amqp: Address) -> None:
    names = Names(amqp.prefix)
    async with await declared(amqp) as connection, Producer(amqp.url, prefix=amqp.prefix) as memq:
        await memq.upsert("docs", ids=[1, 2], vectors=[[1.0], [2.0]], lane="bulk")
        await memq.upsert("docs", [{"id": 3, "vector": [1.0]}], lane="bulk")
        await memq.upsert("docs", [{"id": 4, "vector": [1.0]}])
        assert memq.bulk_refused == ""
        assert (await waiting(connection, names.write_bulk), await waiting(connection, names.write)) == (2, 1)


async def test_with_strict_order_both_exchanges_lead_to_one_queue(amqp: Address) -> None:
    names = Names(amqp.prefix)
    async with await declared(amqp, order="strict") as connection, Producer(amqp.url, prefix=amqp.prefix) as memq:
        await memq.upsert("docs", [{"id": 3, "vector": [1.0]}], lane="bulk")
        await memq.upsert("docs", [{"id": 4, "vector": [1.0]}])
        assert await waiting(connection, names.write) == 2


async def test_where_the_bulk_exchange_is_missing_the_live_lane_is_used(amqp: Address) -> None:
    names = Names(amqp.prefix)
    async with (
        await declared(amqp, without=(names.bulk,)) as connection,
        Producer(amqp.url, prefix=amqp.prefix) as memq,
    ):
        await memq.upsert("docs", [{"id": n, "vector": [1.0]} for n in range(300)], lane="bulk")
        assert names.bulk in memq.bulk_refused
        assert await waiting(connection, names.write) == 3


async def test_an_outbox_has_the_live_lane_only(amqp: Address, tmp_path: Path) -> None:
    async with await declared(amqp), Producer(amqp.url, prefix=amqp.prefix, outbox=tmp_path / "outbox") as memq:
        with pytest.raises(InvalidRequest, match="lane"):
            await memq.upsert("docs", [{"id": 3, "vector": [1.0]}], lane="bulk")


async def test_a_retry_returns_into_the_lane_it_came_from_and_no_other(amqp: Address) -> None:
    """Uses the bindings that `memq-worker declare` makes."""
    names = Names(amqp.prefix)
    environ = {**os.environ, "MEMQ_AMQP_URL": amqp.url, "MEMQ_PREFIX": amqp.prefix}
    await asyncio.to_thread(subprocess.run, [COMMAND, "declare"], env=environ, check=True, timeout=60)
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        tier = await channel.get_exchange(names.retry(1, internal=True), ensure=False)
        for lane, queue in (("bulk", names.write_bulk), ("live", names.write)):
            await tier.publish(aio_pika.Message(b"{}", headers={"x-lane": lane}), "upsert.docs")
            async with (await channel.get_queue(queue, ensure=False)).iterator(timeout=20) as deliveries:
                returned = await anext(deliveries)
            await returned.ack()
            assert returned.exchange == names.internal
            assert [await waiting(connection, each) for each in (names.write, names.write_bulk)] == [0, 0]
        internal = await channel.get_exchange(names.internal, ensure=False)
        with pytest.raises(aio_pika.exceptions.PublishError):
            await internal.publish(aio_pika.Message(b"{}", headers={"x-lane": "another"}), "upsert.docs")


async def test_a_worker_applies_both_lanes(amqp: Address, tmp_path: Path) -> None:
    with running_worker(amqp, data_dir=tmp_path / "data"):
        async with Producer(amqp.url, prefix=amqp.prefix) as memq:
            await memq.collections.create("docs", size=1)
            bulk = await memq.upsert("docs", ids=list(range(500)), vectors=[[1.0]] * 500, lane="bulk", wait=True)
            live = await memq.upsert("docs", [{"id": 1000, "vector": [1.0]}], wait=True)
            assert (bulk.points, live.points) == (500, 1)
            assert (await memq.count("docs")).count == 501
