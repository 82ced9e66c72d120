from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pamqp.frame
import pytest
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from hypothesis import given
from hypothesis import strategies as st
from memq_amqp import Deliveries, Frames, unusable
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

if TYPE_CHECKING:
    from memq_schemas.properties import Properties

MINE, OTHER = 1, 2


def content(tag: int, body: bytes, size: int) -> list[Any]:
    parts = [ContentBody(body[at : at + size]) for at in range(0, len(body), size)]
    header = ContentHeader(0, len(body), Basic.Properties(message_id=f"m{tag}"))
    return [Basic.Deliver("consumer", tag, tag % 2 == 1, "exchange", f"upsert.c{tag}"), header, *parts]


class Reading(asyncio.ReadTransport):
    """A transport of which only is known whether it reads."""

    paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Read:
    """Frames from bytes that come in pieces."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, bool, str, str, str | None, bytes]] = []
        self.passed: list[Any] = []
        self.frames = Frames()
        self.frames.attach(MINE, Deliveries(self._delivered))

    def _delivered(
        self, tag: int, redelivered: bool, exchange: str, key: str, properties: Properties, body: bytes
    ) -> None:
        self.taken.append((tag, redelivered, exchange, key, properties.message_id, body))

    def feed(self, data: bytes) -> None:
        while data:
            room = self.frames.get_buffer(-1)
            size = min(len(room), len(data))
            room[:size] = data[:size]
            self.frames.buffer_updated(size)
            data = data[size:]

    async def all(self, data: bytes, cuts: list[int]) -> None:
        async def feed() -> None:
            begin = 0
            for cut in [*sorted(cuts), len(data)]:
                self.feed(data[begin:cut])
                begin = cut
                await asyncio.sleep(0)
            self.frames.eof_received()

        feeding = asyncio.create_task(feed())
        with contextlib.suppress(AMQPConnectionError):
            async for _, _, frame in self.frames:
                self.passed.append(frame)
        await feeding


def test_the_installed_aiormq_is_one_that_is_known_and_no_event_loop_is_needed_to_see_it() -> None:
    unusable.cache_clear()
    assert unusable() is None


@given(
    bodies=st.lists(st.binary(max_size=50), max_size=10),
    size=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
)
async def test_deliveries_arrive_whole_and_in_order_however_the_bytes_come_in_and_the_rest_goes_on(
    bodies: list[bytes], size: int, cuts: list[int]
) -> None:
    read = Read()
    data = b""
    for tag, body in enumerate(bodies):
        data += b"".join(pamqp.frame.marshal(frame, MINE) for frame in content(tag, body, size))
        data += pamqp.frame.marshal(Basic.CancelOk(f"c{tag}"), MINE)
        data += b"".join(pamqp.frame.marshal(frame, OTHER) for frame in content(tag, body, size))
    await read.all(data, [cut for cut in cuts if cut <= len(data)])
    assert read.taken == [(n, n % 2 == 1, "exchange", f"upsert.c{n}", f"m{n}", body) for n, body in enumerate(bodies)]
    passed = [frame for frame in read.passed if not isinstance(frame, Heartbeat)]
    expected = [
        kind
        for body in bodies
        for kind in (Basic.CancelOk, Basic.Deliver, ContentHeader, *[ContentBody] * len(range(0, len(body), size)))
    ]
    assert [type(frame) for frame in passed] == expected


async def test_a_body_larger_than_every_buffer_arrives_byte_for_byte() -> None:
    read, body = Read(), bytes(range(256)) * 5000
    data = b"".join(pamqp.frame.marshal(frame, MINE) for frame in content(7, body, 131_064))
    await read.all(data, list(range(0, len(data), 65_536)))
    assert read.taken == [(7, True, "exchange", "upsert.c7", "m7", body)]


async def test_aiormq_is_told_that_the_connection_lives_while_every_frame_is_taken() -> None:
    read = Read()
    await read.all(b"".join(pamqp.frame.marshal(frame, MINE) for frame in content(1, b"x", 1)), [])
    assert [type(frame) for frame in read.passed] == [Heartbeat]


async def test_a_close_in_the_middle_of_a_delivery_reaches_the_channel_and_drops_the_rest() -> None:
    read = Read()
    begun = [*content(1, b"abcdef", 3)[:3], Channel.Close(320, "x", 0, 0)]
    data = b"".join(pamqp.frame.marshal(frame, MINE) for frame in [*begun, *content(2, b"next", 2)])
    await read.all(data, [])
    assert [frame for frame in read.passed if isinstance(frame, Channel.Close)]
    assert [body for *_, body in read.taken] == [b"next"]


@pytest.mark.parametrize("data", [b"\x01\x00\x01\x00\x00\x00\x01x!", b"\x09\x00\x01\x00\x00\x00\x00\xce"])
async def test_what_is_no_frame_ends_the_connection(data: bytes) -> None:
    read = Read()
    read.feed(data)
    with pytest.raises(InvalidFrameError):
        await read.frames.get_frame()


async def test_after_detaching_frames_are_aiormqs_again() -> None:
    read = Read()
    read.frames.detach(MINE)
    await read.all(b"".join(pamqp.frame.marshal(frame, MINE) for frame in content(1, b"x", 1)), [])
    assert [type(frame) for frame in read.passed] == [Basic.Deliver, ContentHeader, ContentBody]
    assert read.taken == []


async def test_a_server_that_speaks_another_protocol_is_told_from_one_that_says_nothing() -> None:
    for said, error in ((b"AMQP\x00\x01\x00\x00", ProtocolSyntaxError), (b"SSH-2.0-memq\r\n", InvalidFrameError)):
        read = Read()
        read.feed(said)
        with pytest.raises(error):
            await read.frames.get_frame()


async def test_nothing_is_read_while_aiormq_is_behind_with_what_it_was_given() -> None:
    read, reading = Read(), Reading()
    read.frames.connection_made(reading)
    data = pamqp.frame.marshal(Basic.CancelOk("c"), OTHER) * 1000
    read.feed(data)
    assert reading.paused
    for _ in range(999):
        await read.frames.get_frame()
        assert reading.paused
    await read.frames.get_frame()
    assert not reading.paused


async def test_what_came_before_the_end_is_still_handed_over() -> None:
    read = Read()
    read.feed(pamqp.frame.marshal(Channel.Close(320, "x", 0, 0), OTHER) + b"\x01\x00")
    read.frames.connection_lost(ConnectionResetError("reset"))
    assert isinstance((await read.frames.get_frame())[2], Channel.Close)
    with pytest.raises(AMQPConnectionError, match="reset"):
        await read.frames.get_frame()
