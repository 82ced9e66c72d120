"""Messages that no client of ours would send: every property is bytes of somebody else's choice.

A raw socket publishes them, since no client library does, and a real worker and `memq dead` have to live with them.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import aiormq
import memq_amqp
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from memq_amqp import decode, encode
from memq_amqp.wire.frames import send
from memq_amqp.wire.properties import Table

from memq_schemas import Names
from memq_schemas.headers import BROKER_PREFIXES
from memq_schemas.properties import NO_HEADERS, ChangedHeaders, Properties
from tests.support.broker import depth
from tests.support.command import Memq
from tests.support.responder import declare
from tests.support.until import until
from tests.support.worker import running_worker
from tests.unit.transport.test_properties import raw_properties

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration


class Raw:
    """A channel without confirms, whose publishes are bytes."""

    def __init__(self, connection: Any, channel: Any, prefix: str) -> None:
        self._connection = connection
        self._channel = channel
        self._prefix = prefix

    async def publish(self, key: bytes, properties: bytes, body: bytes, exchange: str = "commands") -> None:
        """Return when the broker has taken it: an answer on this channel means that it has read what came before."""
        name = f"{self._prefix}.{exchange}".encode() if exchange else b""
        number = self._channel.number
        method = b"\x00\x3c\x00\x28\x00\x00" + _short(name) + _short(key) + b"\x00"
        header = b"\x00\x3c\x00\x00" + struct.pack(">Q", len(body)) + properties
        frames = b"".join(
            struct.pack(">BHI", kind, number, len(payload)) + payload + b"\xce"
            for kind, payload in ((1, method), (2, header), (3, body))
            if payload
        )
        await send(self._channel, frames)
        await self._channel.basic_qos(prefetch_count=1)


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


@asynccontextmanager
async def raw(address: Address) -> AsyncIterator[Raw]:
    connection = await aiormq.connect(address.url)
    try:
        yield Raw(connection, await connection.channel(publisher_confirms=False), address.prefix)
    finally:
        await connection.close()


def table(**entries: bytes) -> bytes:
    """A table of entries whose types and values are given as bytes."""
    return b"".join(_short(name.encode()) + value for name, value in entries.items())


def text(data: bytes) -> bytes:
    return b"S" + struct.pack(">I", len(data)) + data


# What an AMQP 1.0 sender, a broken client or an attacker leaves in the properties of a message.
STRANGE: dict[str, Properties] = {
    "header is not UTF-8": Properties(headers=Table(table(k=text(b"\xff\xfe")))),
    "name is not UTF-8": Properties(headers=Table(_short(b"\xff\xfe") + text(b"v"))),
    "correlation id": Properties(correlation_id=b"\xff\xfe\x00c".decode("utf-8", "surrogateescape")),
    "content encoding": Properties(content_encoding=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "content type": Properties(content_type=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "app id": Properties(app_id=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "type and cluster": Properties(type=b"\xfft".decode("utf-8", "surrogateescape"), cluster_id="\udcff"),
    "message id": Properties(message_id=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "timestamp in microseconds": Properties(timestamp=1_700_000_000_000_000),
    "largest timestamp": Properties(timestamp=2**64 - 1),
    "header's date": Properties(headers=Table(table(when=b"T" + b"\xff" * 8))),
    "bytes, floats, decimals": Properties(
        headers=Table(table(b=b"x\x00\x00\x00\x02\xff\x00", f=b"f\x00\xc0\x00\x00", d=b"D\xff\xff\xff\xff\xff", v=b"V"))
    ),
    "small integers": Properties(
        headers=Table(table(b=b"b\xff", s=b"s\x01\x00", i=b"I\x00\x00\x00\x01", n=b"l" + bytes(8)))
    ),
    "table in a table": Properties(headers=Table(table(t=b"F" + struct.pack(">I", 3) + b"\x01aV"))),
    "many headers": Properties(
        headers=Table(b"".join(_short(f"h{n}".encode()) + b"I" + bytes(4) for n in range(9000)))
    ),
    "priority and mode": Properties(priority=255, delivery_mode=1),
}


@pytest.fixture(params=["fast", "stock"])
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
    before = {body: properties for properties, body in await letters(amqp, total)}
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
    for properties, body in await letters(amqp, unreadable + 1):
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
    ((kept, body),) = await letters(amqp, 1)
    assert (kept.headers["k"], body) == ("x" * 130_900, b"{")
    await asyncio.to_thread(memq.json, "dead", "list")
    await asyncio.to_thread(memq.json, "dead", "show", 1)
    assert (await asyncio.to_thread(memq.json, "dead", "replay"))["done"] == 1
    await until(dead)
    assert (await asyncio.to_thread(memq.json, "dead", "purge", "--yes"))["done"] == 1
    await connection.close()


async def letters(address: Address, count: int) -> list[tuple[Properties, bytes]]:
    """Properties and body of what is in the dead-letter queue, which stays there."""
    connection = await memq_amqp.connect(address.url)
    try:
        channel = await (await connection.channel()).get_underlay_channel()
        found = [await memq_amqp.get(channel, Names(address.prefix).dead, 30) for _ in range(count)]
        return [(each.properties, each.body) for each in found if each is not None]
    finally:
        await connection.close()


OURS = (
    *("x-error-", "x-exception-", "x-first-failed", "x-last-failed", "x-original-", "x-worker", "x-retry", "x-memq-"),
    *("x-message-id", "x-user-id"),
)


def own(properties: Properties) -> tuple[Properties, list[bytes]]:
    """Without what a worker, a replay and the broker add or change; the headers as bytes, which the broker sorts."""
    headers = ChangedHeaders(properties.headers, prefixes=(*OURS, *BROKER_PREFIXES))
    rest = decode(encode(Properties(headers=headers))).headers
    entries = [rest.raw[start:stop] for _, start, _, stop in rest.entries()] if isinstance(rest, Table) else []
    kept = properties._replace(headers=NO_HEADERS, message_id=None, user_id=None, reply_to=None, expiration=None)
    return kept, sorted(entries)


@pytest.mark.parametrize("transport", ["fast", "stock"])
async def test_any_properties_that_the_broker_carries_arrive_as_they_are(amqp: Address, transport: str) -> None:
    """hypothesis chooses them; consumed, taken singly, and published again by either codec."""
    connection = await (memq_amqp.connect if transport == "fast" else memq_amqp.connect_stock)(amqp.url)
    opened = await connection.channel(publisher_confirms=True, on_return_raises=True)
    channel = await opened.get_underlay_channel()
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
        if isinstance(sent.headers, Table) and not _carried(sent.headers):
            sent = sent._replace(headers=NO_HEADERS)
        await publisher.publish("", queue, b"body", sent)
        _, read, body = await asyncio.wait_for(arrived.get(), 20)
        assert body == b"body"
        assert own(read) == own(sent)

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


def _carried(headers: Table) -> bool:
    """Return True if RabbitMQ can read these headers: it closes the connection over types and values it cannot."""
    for name, start, at, stop in headers.entries():
        # By itself: of two entries with one name the table has the last alone.
        kind, value = headers.raw[at : at + 1], Table(headers.raw[start:stop])[name]
        if (
            kind == b"U"
            or name in ("CC", "BCC")
            or (kind in b"FA" and value)
            or (kind in b"fd" and not isfinite(value))
        ):
            return False
    return not headers.opaque
