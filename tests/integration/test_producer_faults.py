"""What a publish comes to when the broker, or the way to it, fails: sent again or told, never assumed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aio_pika
import orjson
import pytest

from memq import BufferFull, ConnectionChange, PointRow, Producer, Receipt, Unconfirmed
from memq.deliver import sender
from memq_schemas import Names
from tests.support.broker import Address, take
from tests.support.responder import declare
from tests.support.tcp_proxy import TcpProxy, Way, tcp_proxy
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stack.broker import Server

pytestmark = pytest.mark.integration

EITHER = pytest.mark.usefixtures("transport")

# Class 60, methods 80 and 40.
ACK, PUBLISH = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x28"


@pytest.fixture
def proxy(amqp: Address) -> Iterator[TcpProxy]:
    with tcp_proxy(amqp.url) as proxy:
        yield proxy


async def declared(url: str, prefix: str = "memq") -> None:
    async with await aio_pika.connect(url) as connection:
        await declare(await connection.channel(), prefix)


def points(count: int, payload: str = "") -> Iterator[PointRow]:
    return ({"id": number, "vector": [float(number), 1.0], "payload": {"p": payload}} for number in range(count))


def ids(bodies: Iterable[Any]) -> list[int]:
    return [point["id"] for body in bodies for point in body["points"]]


@pytest.mark.parametrize(
    ("way", "frame", "copies"),
    [(Way.DOWN, ACK, 2), (Way.UP, PUBLISH, 1)],
    ids=["before the confirm", "before the broker"],
)
@EITHER
async def test_a_connection_lost_between_publish_and_confirm_means_another_attempt(
    amqp: Address, proxy: TcpProxy, way: Way, frame: bytes, copies: int
) -> None:
    await declared(amqp.url, amqp.prefix)
    async with Producer(proxy.url(amqp.url), prefix=amqp.prefix) as memq:
        proxy.cut_when(way, lambda chunk: frame in chunk)
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)
        assert proxy.accepted == 2
    arrived = await take(amqp, Names(amqp.prefix).write)
    assert ids(orjson.loads(message.body) for message in arrived) == [0] * copies
    assert len({message.message_id for message in arrived}) == copies


@EITHER
async def test_a_connection_lost_again_and_again_loses_nothing(amqp: Address, proxy: TcpProxy) -> None:
    await declared(amqp.url, amqp.prefix)
    async with Producer(
        proxy.url(amqp.url), prefix=amqp.prefix, max_points_per_message=1, max_in_flight=20, confirm_timeout=60
    ) as memq:
        lost = 0

        def progress(receipt: Receipt) -> None:
            nonlocal lost
            # Never the same place: once before the broker has it, once before we know.
            if receipt.messages // 40 > lost and lost < 6:
                lost += 1
                way, frame = ((Way.UP, PUBLISH), (Way.DOWN, ACK))[lost % 2]
                proxy.cut_when(way, lambda chunk: frame in chunk)

        assert await memq.upsert("docs", points(400), progress=progress) == Receipt(400, 400)
    assert proxy.accepted == 7
    arrived = await take(amqp, Names(amqp.prefix).write)
    assert set(ids(orjson.loads(message.body) for message in arrived)) == set(range(400))
    assert len({message.message_id for message in arrived}) == len(arrived)


@pytest.mark.parametrize("away", ["silent", "refusing"])
@EITHER
async def test_while_the_broker_is_away_the_buffer_has_an_end(amqp: Address, proxy: TcpProxy, away: str) -> None:
    await declared(amqp.url, amqp.prefix)
    pulled = 0

    def source() -> Iterator[PointRow]:
        nonlocal pulled
        for point in points(10_000, "x" * 1_000_000):
            pulled += 1
            yield point

    told: asyncio.Queue[ConnectionChange] = asyncio.Queue()
    async with Producer(
        proxy.url(amqp.url), prefix=amqp.prefix, confirm_timeout=2, on_connection=told.put_nowait
    ) as memq:
        if away == "silent":
            proxy.silence()
        else:
            proxy.refuse()
            proxy.reset()
            assert not (await told.get()).connected
        with pytest.raises(Unconfirmed) as caught:
            await memq.upsert("docs", source())
        assert caught.value.confirmed == Receipt(0, 0)
        # 32 MiB on the way, one message that waits for room, one point that the next one begins with.
        assert pulled <= 35
        proxy.refuse(False)
        proxy.heal()
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)


@EITHER
async def test_whoever_must_not_wait_for_room_is_told(amqp: Address, proxy: TcpProxy) -> None:
    await declared(amqp.url, amqp.prefix)
    async with Producer(proxy.url(amqp.url), prefix=amqp.prefix, max_in_flight=1, buffer_timeout=0.2) as memq:
        proxy.pause(Way.DOWN)
        first = asyncio.create_task(memq.upsert("docs", points(1)))
        await asyncio.sleep(0)
        with pytest.raises(BufferFull, match=r"upsert\.docs: no room within 0\.2 s") as caught:
            await memq.upsert("docs", points(1))
        assert caught.value.points == range(1)
        assert caught.value.confirmed == Receipt(0, 0)
        proxy.resume()
        assert await first == Receipt(1, 1)
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)
    assert len(await take(amqp, Names(amqp.prefix).write)) == 2


@EITHER
async def test_a_broker_that_says_nothing_is_left_for_another(
    amqp: Address, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await declared(amqp.url, amqp.prefix)
    monkeypatch.setattr(sender, "SILENT_SECONDS", 0.5)
    told: asyncio.Queue[ConnectionChange] = asyncio.Queue()
    with tcp_proxy(amqp.url) as other:
        # Long before its heartbeats would tell.
        urls = [f"{each.url(amqp.url)}?heartbeat=600" for each in (proxy, other)]
        async with Producer(urls, prefix=amqp.prefix, on_connection=told.put_nowait, confirm_timeout=100) as memq:
            assert await memq.upsert("docs", points(1)) == Receipt(1, 1)
            proxy.pause(Way.DOWN)
            patient = asyncio.create_task(memq.upsert("docs", points(1)))
            await asyncio.sleep(0)
            memq._options.confirm_timeout = 0.5
            with pytest.raises(Unconfirmed, match="silent"):
                await memq.upsert("docs", points(1))
            gone, back = await told.get(), await told.get()
            assert (gone.connected, back.connected) == (False, True)
            assert "no confirm for" in (gone.reason or "")
            assert await patient == Receipt(1, 1)
            assert (proxy.accepted, other.accepted) == (1, 1)


@EITHER
async def test_a_broker_that_says_nothing_is_kept_while_there_is_no_other(
    amqp: Address, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await declared(amqp.url, amqp.prefix)
    monkeypatch.setattr(sender, "SILENT_SECONDS", 0.5)
    told: list[ConnectionChange] = []
    url = f"{proxy.url(amqp.url)}?heartbeat=600"
    async with Producer(url, prefix=amqp.prefix, on_connection=told.append, confirm_timeout=0.5) as memq:
        proxy.pause(Way.DOWN)
        proxy.refuse()
        with pytest.raises(Unconfirmed, match="silent"):
            await memq.upsert("docs", points(1))
        await until(lambda: proxy.accepted == 2)
        memq._options.confirm_timeout = 100
        proxy.resume()
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)
        assert told == []


@EITHER
async def test_a_broker_in_alarm_is_told_and_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await declared(server.amqp_url)
    monkeypatch.setattr(sender, "SILENT_SECONDS", 0.1)
    told: list[ConnectionChange] = []
    pulled = 0

    def source() -> Iterator[PointRow]:
        nonlocal pulled
        for point in points(1000):
            pulled += 1
            yield point

    limits: dict[str, Any] = {"max_in_flight": 10, "max_points_per_message": 1}
    async with (
        Producer(server.amqp_url, confirm_timeout=3, on_connection=told.append, **limits) as hasty,
        Producer(server.amqp_url, confirm_timeout=120, **limits) as patient,
    ):
        assert await hasty.upsert("docs", points(1)) == await patient.upsert("docs", points(1))
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0")
        try:
            with pytest.raises(Unconfirmed, match=r"no confirm within 3 s: .*alarm") as caught:
                await hasty.upsert("docs", source())
            assert caught.value.confirmed == Receipt(0, 0)
            assert pulled <= 12
            waiting = asyncio.create_task(patient.upsert("docs", points(300)))
            await asyncio.wait([waiting], timeout=0.5)
            assert not waiting.done()
        finally:
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.6")
        assert await waiting == Receipt(300, 300)
        # An alarm is an answer: another connection would be no better.
        assert told == []
    arrived = await take(Address(server.amqp_url, "memq", None, "/"), Names().write)
    assert set(ids(orjson.loads(message.body) for message in arrived)) == set(range(300))


async def test_a_broker_that_is_down_at_the_start_is_waited_for(server: Server) -> None:
    await declared(server.amqp_url)
    told: list[ConnectionChange] = []
    await asyncio.to_thread(server.stop)
    producer = Producer(server.amqp_url, timeout=120, on_connection=told.append)
    opening = asyncio.create_task(producer.__aenter__())
    try:
        await asyncio.to_thread(server.start)
        memq = await opening
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)
        assert memq.connected
    finally:
        opening.cancel()
    await producer.__aexit__(None, None, None)
    assert [change.connected for change in told] in ([False], [])


async def test_a_killed_broker_loses_nothing_that_was_confirmed(server: Server) -> None:
    connection = await aio_pika.connect(server.amqp_url)
    async with connection:
        await declare(await connection.channel(), "memq")
    running = asyncio.Event()

    async with Producer(server.amqp_url, max_points_per_message=1, max_in_flight=100, confirm_timeout=90) as memq:

        def progress(receipt: Receipt) -> None:
            if (receipt.points or 0) >= 500:
                running.set()

        sending = asyncio.create_task(memq.upsert("docs", points(3000), progress=progress))
        await running.wait()
        await asyncio.to_thread(server.kill)
        assert not sending.done()
        await asyncio.to_thread(server.start)
        assert await sending == Receipt(3000, 3000)
    arrived = await take(Address(server.amqp_url, "memq", None, "/"), Names().write)
    assert set(ids(orjson.loads(message.body) for message in arrived)) == set(range(3000))
