"""How a running worker comes through what happens to its connections, channels and consumers."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import numpy as np
import pytest
from memq_amqp.address import parse

from memq import Producer
from memq_schemas import Names, headers
from memq_worker.amqp.connection import Brokers
from stack.amqp import management
from stack.node import Node
from tests.support.broker import Address, depth, take
from tests.support.scrape import says, verdict
from tests.support.tcp_proxy import tcp_proxy
from tests.support.until import until
from tests.support.worker import COMMAND, free_port, running_worker

if TYPE_CHECKING:
    from pamqp.common import Arguments

    from stack.broker import Server
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


def producer_of(amqp: Address) -> Producer:
    return Producer(amqp.url, prefix=amqp.prefix, timeout=20, max_points_per_message=1)


async def publish(amqp: Address, exchange: str, *bodies: bytes) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False)
        for body in bodies:
            await target.publish(aio_pika.Message(body, delivery_mode=2), "upsert.docs")


async def kept(amqp: Address, queue: str, exchange: str, *bodies: bytes) -> None:
    """Publish to a new queue that dead-letters to `exchange` as upserts."""
    arguments: Arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "upsert.docs"}
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.declare_queue(queue, durable=True, arguments=arguments)
        for body in bodies:
            await channel.default_exchange.publish(aio_pika.Message(body, delivery_mode=2), queue)


async def holds(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count


async def counts(producer: Producer, count: int) -> bool:
    return (await producer.count("docs")).count == count


def reasons(port: int) -> str:
    return " ".join(verdict(port, "/readyz")[1]["workers"][0]["reasons"])


def api(amqp: Address, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    parts = urlsplit(amqp.url)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    management(method, f"{amqp.management_url}/api/{path}", user, password, body)


async def test_refused_copies_cost_no_session_no_neighbour_and_nobody_in_quarantine(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    names, port = Names(amqp.prefix), free_port()
    policy = f"policies/{quote(amqp.vhost, safe='')}/full"
    definition = {"max-length": 1, "overflow": "reject-publish"}
    with running_worker(amqp, qdrant_url=engine.url, metrics_port=port) as worker:
        api(amqp, "PUT", policy, {"pattern": names.dead, "definition": definition, "apply-to": "queues"})
        async with producer_of(amqp) as producer:
            await producer.collections.create("docs", 2)
            # A quorum queue counts late: some beyond its limit are still taken.
            sent = 0
            while "copies are not taken" not in await asyncio.to_thread(reasons, port):
                await publish(amqp, names.commands, b"bad")
                sent += 1
            await publish(amqp, names.suspect, b"bad, and a suspect", b"bad, and a suspect")
            await until(lambda: holds(amqp, names.suspect, 1), within=30)  # one is in the worker's hands
            await producer.upsert("docs", ids=range(20), vectors=np.ones((20, 2)))
            await until(lambda: counts(producer, 20), within=30)
            await says(503, port, "/readyz")
            api(amqp, "DELETE", policy)
            await until(lambda: holds(amqp, names.dead, sent + 2), within=60)
            await says(200, port, "/readyz")
        assert len(worker.logged("worker ready")) == 1, "the session has lasted"
        codes = [letter.headers.get(headers.ERROR_CODE) for letter in await take(amqp, names.dead)]
        assert codes == ["malformed"] * (sent + 2), "none was ended by the delivery limit"


async def test_a_queue_for_copies_that_is_taken_away_is_made_again_by_the_same_session(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    names = Names(amqp.prefix)
    with running_worker(amqp, qdrant_url=engine.url) as worker:
        async with await aio_pika.connect(amqp.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(names.dead, ensure=False)
            await queue.delete(if_unused=False, if_empty=False)
        await publish(amqp, names.commands, b"bad")
        worker.until("delivery not applied", code="malformed")
        assert await depth(amqp, names.dead) == 1
        assert len(worker.logged("worker ready")) == 1


async def test_a_lost_connection_for_publishing_is_made_again_and_consuming_goes_on(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    names = Names(amqp.prefix)
    with (
        tcp_proxy(amqp.url) as proxy,
        running_worker(amqp, amqp_url=proxy.url(amqp.url), qdrant_url=engine.url, amqp_timeout_seconds=2) as worker,
    ):
        proxy.silence(b" publish")
        await publish(amqp, names.commands, b"bad")
        worker.until("broker refuses retry and dead-letter copies")
        proxy.heal()
        worker.until("broker accepts retry and dead-letter copies again")
        await until(lambda: holds(amqp, names.dead, 1), within=30)
        assert len(worker.logged("worker ready")) == 1


async def test_the_next_host_is_tried_when_one_is_lost(amqp: Address, engine: EmbeddedEngine) -> None:
    with tcp_proxy(amqp.url) as first, tcp_proxy(amqp.url) as second:
        urls = ",".join(proxy.url(amqp.url) for proxy in (first, second))
        with running_worker(amqp, amqp_url=urls, qdrant_url=engine.url) as worker:
            assert (first.accepted, second.accepted) != (0, 0)
            # Wherever it is connected; and that host is gone for good.
            first.refuse()
            first.cut()
            second.cut()
            worker.ready(sessions=2)
            worker.until("host skipped")
            async with producer_of(amqp) as producer:
                assert (await producer.collections.list()).names == []
                assert first.connections == 0


async def test_a_half_open_connection_is_noticed_by_its_heartbeat_and_left(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    port = free_port()
    with (
        tcp_proxy(amqp.url) as proxy,
        running_worker(
            amqp,
            amqp_url=f"{proxy.url(amqp.url)}?heartbeat=1",
            qdrant_url=engine.url,
            metrics_port=port,
            amqp_timeout_seconds=2,
        ) as worker,
    ):
        await says(200, port, "/readyz")
        proxy.silence()
        worker.until("RabbitMQ connection lost")
        await says(503, port, "/readyz")
        assert "not consuming" in reasons(port)
        proxy.heal()
        worker.ready(sessions=2)
        await says(200, port, "/readyz")
        async with producer_of(amqp) as producer:
            await producer.collections.create("docs", 2)
            await producer.upsert("docs", ids=[1], vectors=np.ones((1, 2)))
            await until(lambda: counts(producer, 1), within=30)


async def test_a_heartbeat_of_ten_seconds_is_agreed_on(amqp: Address) -> None:
    async with Brokers(parse(amqp.url), "tested", 20.0).connect("consume") as connection:
        transport = connection._raw.transport
        assert transport is not None
        assert transport.connection.connection_tune.heartbeat == 10


async def test_a_worker_that_may_not_consume_is_not_ready_says_why_and_repairs_itself(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    names, port = Names(amqp.prefix), free_port()
    settings = {"MEMQ_AMQP_URL": amqp.url, "MEMQ_PREFIX": amqp.prefix}

    def declare() -> None:
        subprocess.run([COMMAND, "declare"], env=settings, check=True, timeout=60, capture_output=True)

    await asyncio.to_thread(declare)
    with running_worker(amqp, qdrant_url=engine.url, metrics_port=port, declare="check") as worker:
        await says(200, port, "/readyz")
        async with await aio_pika.connect(amqp.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(names.write, ensure=False)
            await queue.delete(if_unused=False, if_empty=False)
        worker.until("RabbitMQ connection lost", reason="consumer cancelled by the broker")
        await until(lambda: "memq-worker declare" in reasons(port), within=30)
        body = await says(503, port, "/readyz")
        assert body["workers"][0]["consuming"] is False
        await asyncio.to_thread(declare)
        worker.ready(sessions=2)
        await says(200, port, "/readyz")


def timeouts(server: Node, consumer: int, tick: int) -> None:
    """For channels that are opened from now on, in milliseconds."""
    values = {"consumer_timeout": consumer, "channel_tick_interval": tick}
    sets = ", ".join(f"application:set_env(rabbit, {key}, {value})" for key, value in values.items())
    server.control("eval", f"{sets}.")


async def test_a_message_held_longer_than_the_broker_allows_costs_a_session_and_is_applied(
    server: Server, engine: EmbeddedEngine
) -> None:
    if not isinstance(server, Node):
        pytest.skip("needs a node of its own, to set its consumer timeout")
    # As by a consumer_timeout in rabbitmq.conf, but looked at more often than once a minute.
    await asyncio.to_thread(timeouts, server, 2_000, 500)
    address = Address(server.amqp_url, "memq", server.management_url, "/")
    with running_worker(address, qdrant_url=engine.url) as worker:
        async with producer_of(address) as producer:
            await producer.collections.create("docs", 2)
            engine.process.send_signal(signal.SIGSTOP)
            try:
                await producer.upsert("docs", ids=[1], vectors=np.ones((1, 2)))
                # 406 closes the channel, with these words; RabbitMQ 4.3 cancels the consumer instead.
                lost = worker.until("RabbitMQ connection lost")
                assert re.search("acknowledgement .*timed out|consumer cancelled by the broker", lost["reason"])
                worker.ready(sessions=2)
            finally:
                await asyncio.to_thread(timeouts, server, 1_800_000, 60_000)
                engine.process.send_signal(signal.SIGCONT)
            await until(lambda: counts(producer, 1), within=60)
            assert await depth(address, Names("memq").dead) == 0


async def alarmed(node: Node) -> bool:
    """Return True once the broker has noticed: it looks at its memory once a second."""
    return "memory" in await asyncio.to_thread(node.control, "eval", "rabbit_alarm:get_alarms().")


async def test_a_blocked_broker_is_waited_for_on_the_connection_that_is_blocked(
    server: Server, engine: EmbeddedEngine
) -> None:
    if not isinstance(server, Node):
        pytest.skip("needs rabbitmqctl on a node of its own")
    address = Address(server.amqp_url, "memq", server.management_url, "/")
    names = Names(address.prefix)
    with (
        tcp_proxy(address.url) as proxy,
        running_worker(
            address, amqp_url=proxy.url(address.url), qdrant_url=engine.url, amqp_timeout_seconds=2
        ) as worker,
    ):
        accepted = proxy.accepted
        await kept(address, "kept", names.commands, b"bad", b"bad")
        policy = f"policies/{quote(address.vhost, safe='')}/kept"
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "absolute", "1MB")
        await until(lambda: alarmed(server), within=30)
        try:
            # A blocked broker takes nothing from a client, but still dead-letters what no longer fits into a queue.
            full = {"pattern": "^kept$", "definition": {"max-length": 0}, "apply-to": "queues"}
            await asyncio.to_thread(api, address, "PUT", policy, full)
            await until(lambda: holds(address, "kept", 0), within=30)
            # There is nothing to wait for: nothing happens, for longer than a confirm may take otherwise.
            await asyncio.sleep(4)
            assert await depth(address, names.dead) == 0
        finally:
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.6")
            await asyncio.to_thread(api, address, "DELETE", policy)
            await asyncio.to_thread(api, address, "DELETE", f"queues/{quote(address.vhost, safe='')}/kept")
        await until(lambda: holds(address, names.dead, 2), within=60)
        assert proxy.accepted == accepted, "nothing was connected anew"
        assert len(worker.logged("worker ready")) == 1
        assert await depth(address, names.dead) == 2, "and nothing published twice"
