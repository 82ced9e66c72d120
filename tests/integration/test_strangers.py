"""Messages that no client of ours would send: every property is bytes of somebody else's choice.

A raw socket publishes them, since no client library does, and a real worker and `memq dead` have to live with them.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import aiormq
import grpc
import memq_amqp
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from memq_amqp import decode, encode
from memq_amqp.wire.properties import Table

from memq_schemas import Names
from memq_schemas.properties import NO_HEADERS, Properties
from tests.support.broker import depth
from tests.support.command import Memq
from tests.support.faults import Fault, faulty_store
from tests.support.responder import declare
from tests.support.strange import STRANGE, carried, letters, own, raw, table, text
from tests.support.until import until
from tests.support.worker import running_worker
from tests.unit.transport.test_properties import raw_properties

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


@pytest.fixture(params=["fast", pytest.param("stock", marks=pytest.mark.slow)])
def worker(request: pytest.FixtureRequest, amqp: Address, tmp_path: Path) -> Iterator[str]:
    with running_worker(amqp, data_dir=tmp_path / "store", transport=request.param) as process:
        yield request.param
        assert process.terminate() == 0, process.text
        assert len(process.logged("worker ready")) == 1, "a session was lost"


async def test_a_write_with_strange_properties_is_refused_shown_replayed_and_applied(
    worker: str, amqp: Address
) -> None:
    memq = Memq(amqp)
    memq.environ["MEMQ_TRANSPORT"] = worker
    names, good = Names(amqp.prefix), {}
    async with raw(amqp) as stranger:
        for number, properties in enumerate(STRANGE.values()):
            body = orjson.dumps({"points": [{"id": number, "vector": [1.0, 2.0]}]})
            await stranger.publish(b"upsert.strange", encode(properties), body)
        # And keys of bytes: an operation that there is, with a collection that cannot be called so.
        await stranger.publish(b"upsert.\xff\xfe", encode(Properties()), b"{}")
    total = len(STRANGE) + 1

    async def all_dead() -> bool:
        return await depth(amqp, names.dead) == total

    await until(all_dead)
    before = {body: properties for properties, body in await letters(amqp)}
    for number, properties in enumerate(STRANGE.values()):
        body = orjson.dumps({"points": [{"id": number, "vector": [1.0, 2.0]}]})
        assert own(before[body]) == own(properties), list(STRANGE)[number]
        good[body] = properties
    listed = await asyncio.to_thread(memq.json, "dead", "list")
    assert listed["selected"] == total
    for number in range(1, total + 1):
        await asyncio.to_thread(memq.json, "dead", "show", number)
    await asyncio.to_thread(memq.ok, "dead", "show", "1")
    await asyncio.to_thread(memq.ok, "collections", "create", "strange", "--size", "2")
    replayed = await asyncio.to_thread(memq.json, "dead", "replay")
    assert replayed["done"] == total
    unreadable = sum(p.content_type is not None or p.content_encoding is not None for p in STRANGE.values())

    async def all_applied() -> bool:
        return (await asyncio.to_thread(memq.json, "count", "-c", "strange"))["count"] == len(STRANGE) - unreadable

    await until(all_applied)

    async def rest_dead() -> bool:
        return await depth(amqp, names.dead) == unreadable + 1

    await until(rest_dead)
    # Twice through worker and replay: still what their senders wrote.
    for properties, body in await letters(amqp):
        if body in good:
            assert own(properties) == own(good[body])
    purged = await asyncio.to_thread(memq.json, "dead", "purge", "--yes")
    assert purged["done"] == unreadable + 1


async def test_a_refused_write_with_strange_properties_is_answered(worker: str, amqp: Address) -> None:
    connection = await aiormq.connect(amqp.url)
    channel = await connection.channel()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    declared = await channel.queue_declare("", exclusive=True)
    await channel.basic_consume(declared.queue or "", answers.put, no_ack=True)
    async with raw(amqp) as stranger:
        for name, properties in STRANGE.items():
            asking = properties._replace(
                reply_to=declared.queue, correlation_id=properties.correlation_id if name == "correlation id" else name
            )
            if name == "correlation id":
                continue  # pika and aiormq end their connection over such an answer; the unit tests have it
            await stranger.publish(b"upsert.missing\xff", encode(asking), b"{}")
            answer = await asyncio.wait_for(answers.get(), 30)
            assert answer.header.properties.correlation_id == name
            assert orjson.loads(answer.body)["error"]["code"] == "invalid_collection"
    await connection.close()


async def test_headers_without_room_for_a_copy_are_kept_as_they_are(worker: str, amqp: Address) -> None:
    memq, names = Memq(amqp), Names(amqp.prefix)
    full = Properties(headers=Table(table(k=text(b"x" * 130_900))))
    connection = await aiormq.connect(amqp.url)
    channel = await connection.channel()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    declared = await channel.queue_declare("", exclusive=True)
    await channel.basic_consume(declared.queue or "", answers.put, no_ack=True)
    async with raw(amqp) as stranger:
        await stranger.publish(b"upsert.full", encode(full._replace(reply_to=declared.queue)), b"{")
    answer = await asyncio.wait_for(answers.get(), 30)
    assert orjson.loads(answer.body)["error"]["code"] == "malformed"

    async def dead() -> bool:
        return await depth(amqp, names.dead) == 1

    await until(dead)
    ((kept, body),) = await letters(amqp)
    assert (kept.headers["k"], body) == ("x" * 130_900, b"{")
    await asyncio.to_thread(memq.json, "dead", "list")
    await asyncio.to_thread(memq.json, "dead", "show", 1)
    assert (await asyncio.to_thread(memq.json, "dead", "replay"))["done"] == 1
    await until(dead)
    assert (await asyncio.to_thread(memq.json, "dead", "purge", "--yes"))["done"] == 1
    await connection.close()


@pytest.mark.parametrize("transport", ["fast", pytest.param("stock", marks=pytest.mark.slow)])
async def test_any_properties_that_the_broker_carries_arrive_as_they_are(amqp: Address, transport: str) -> None:
    """hypothesis chooses them; consumed, taken singly, and published again by either codec."""
    connection = await (memq_amqp.connect if transport == "fast" else memq_amqp.connect_stock)(amqp.url)
    opened = await connection.channel(publisher_confirms=True, on_return_raises=True)
    channel = await opened.get_underlay_channel()
    newer = int(str(channel.connection.server_properties["version"]).split(".")[0]) >= 4
    await declare(opened, amqp.prefix)
    queue = (await channel.queue_declare("", exclusive=True)).queue or ""
    arrived: asyncio.Queue[tuple[str, Properties, bytes]] = asyncio.Queue()
    listening = await (await connection.channel()).get_underlay_channel()
    frames = memq_amqp.frames_of(connection)
    consumer = memq_amqp.Consumer(listening, frames, lambda _t, _r, _e, k, p, b: arrived.put_nowait((k, p, b)))
    await consumer.start(queue, "strange", no_ack=True)
    publisher = memq_amqp.publisher(
        await (await connection.channel(on_return_raises=True)).get_underlay_channel(), frames
    )
    loop = asyncio.get_running_loop()

    async def round_trip(given: bytes) -> None:
        # What RabbitMQ itself refuses, or acts on: its user, expiring, and where answers and copies go.
        sent = decode(given)._replace(user_id=None, expiration=None, reply_to=None, message_id="m")
        if sent.delivery_mode not in (None, 1, 2):
            sent = sent._replace(delivery_mode=2)
        if isinstance(sent.headers, Table) and not carried(sent.headers):
            sent = sent._replace(headers=NO_HEADERS)
        await publisher.publish("", queue, b"body", sent)
        _, read, body = await asyncio.wait_for(arrived.get(), 20)
        assert body == b"body"
        if not newer:
            assert own(read) == own(sent)
        else:
            # RabbitMQ 4.0 and later write headers anew: one of several with the same name, and types by the value.
            assert own(read)[0] == own(sent)[0]
            kept, given_values = values(read), values(sent)
            assert all(each in given_values for each in kept)
            assert sorted(name for name, _ in kept) == sorted({name for name, _ in given_values})

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(raw_properties())
    def fuzz(given: bytes) -> None:
        asyncio.run_coroutine_threadsafe(round_trip(given), loop).result(30)

    await asyncio.to_thread(fuzz)
    await connection.close()


def values(properties: Properties) -> list[tuple[str, Any]]:
    """Return the sender's own headers with their values, each as often as it is there."""
    tables = [Table(entry) for entry in own(properties)[1]]
    return [(name, each[name]) for each in tables for name, *_ in each.entries()]


def _deep(levels: int) -> bytes:
    inner = b""
    for _ in range(levels):
        inner = table(t=b"F" + struct.pack(">I", len(inner)) + inner)
    return inner


# More of the same kinds, which the broker itself changes where it adds its own headers.
CHANGED_BY_THE_BROKER = {
    "tables a hundred deep": Properties(headers=Table(_deep(100))),
    "two headers of one name": Properties(headers=Table(table(k=text(b"a")) + table(k=b"I\x00\x00\x00\x01"))),
    "headers that leave room for a copy": Properties(headers=Table(table(k=text(b"x" * 100_000)))),
}


@pytest.mark.parametrize("transport", ["fast", pytest.param("stock", marks=pytest.mark.slow)])
async def test_strange_properties_go_through_retry_tiers_and_quarantine(
    amqp: Address, engine: EmbeddedEngine, transport: str
) -> None:
    memq, names = Memq(amqp), Names(amqp.prefix)
    memq.environ["MEMQ_TRANSPORT"] = transport
    every = STRANGE | CHANGED_BY_THE_BROKER
    readable = {name: p for name, p in every.items() if p.content_type is None and p.content_encoding is None}
    bodies = {
        name: orjson.dumps({"points": [{"id": number, "vector": [1.0, 2.0]}]}) for number, name in enumerate(every)
    }
    async with faulty_store(engine.url) as store:
        given = {"qdrant_url": store.url, "max_attempts": 2, "store_timeout_seconds": 5, "transport": transport}
        context = running_worker(amqp, **given)
        worker = await asyncio.to_thread(context.__enter__)  # it talks to a proxy on this loop
        try:
            await asyncio.to_thread(memq.ok, "collections", "create", "strange", "--size", "2")
            store.fail_always("Upsert", Fault(grpc.StatusCode.INTERNAL, "Service internal error: odd"))
            async with raw(amqp) as stranger:
                for name, properties in readable.items():
                    await stranger.publish(b"upsert.strange", encode(properties), bodies[name])

            async def all_dead() -> bool:
                return await depth(amqp, names.dead) == len(readable)

            await until(all_dead)
            names_of = {body: name for name, body in bodies.items()}
            for properties, body in await letters(amqp):
                name = names_of[body]
                assert properties.headers["x-retry-count"] == 1, name
                if name in STRANGE:
                    assert own(properties) == own(STRANGE[name]), name
            listed = await asyncio.to_thread(memq.json, "dead", "list")
            assert {letter["code"] for letter in listed["letters"]} == {"store_error"}
            for number in range(1, len(readable) + 1, 6):
                await asyncio.to_thread(memq.json, "dead", "show", number)
            store.fail_always("Upsert", None)
            assert (await asyncio.to_thread(memq.json, "dead", "replay"))["done"] == len(readable)
            # In quarantine: valid writes are applied one at a time, others become dead letters.
            async with raw(amqp) as stranger:
                for number, properties in enumerate(readable.values(), 100):
                    body = orjson.dumps({"points": [{"id": number, "vector": [1.0, 2.0]}]})
                    await stranger.publish(b"upsert.strange", encode(properties), body, exchange="suspect")
                    await stranger.publish(b"upsert.missing\xff", encode(properties), body, exchange="suspect")

            async def all_applied() -> bool:
                counted = await asyncio.to_thread(memq.json, "count", "-c", "strange")
                return counted["count"] == 2 * len(readable)

            await until(all_applied)
            await until(all_dead)
            assert (await asyncio.to_thread(memq.json, "dead", "purge", "--yes"))["done"] == len(readable)
            await asyncio.to_thread(memq.ok, "collections", "delete", "strange")
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
    assert len(worker.logged("worker ready")) == 1, "a session was lost"
