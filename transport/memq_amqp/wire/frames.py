"""Frames out of the socket's buffer (AMQP 0-9-1, section 4.2.3), and into aiormq's writer."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, cast

import pamqp.frame
from aiormq.abc import ChannelFrame
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from pamqp.commands import Connection
from pamqp.exceptions import PAMQPException
from pamqp.heartbeat import Heartbeat

from memq_amqp.loss import MessageRefused
from memq_amqp.refusals import Kind, Refusal
from memq_amqp.wire.readable_frames import ReadableFrames

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiormq.abc import AbstractChannel

METHOD, HEADER, BODY = 1, 2, 3

START = struct.Struct(">BHI").unpack_from  # type, channel, size
_END = 0xCE
AROUND = 8  # bytes of a frame around its payload
KINDS = (METHOD, HEADER, BODY, 8)

_READ = 1 << 18
_LEAST_READ = 1 << 16
_MOST_PASSED = 64
_SIGN_SECONDS = 1.0


class Sink(Protocol):
    def take(self, kind: int, buffer: memoryview, start: int, stop: int) -> bool:
        """Return True if the sink consumed the frame with the payload buffer[start:stop]; otherwise aiormq gets it.

        The buffer is used again afterwards: what is kept has to be copied. Must not raise.
        """
        ...


class Frames(asyncio.BufferedProtocol):
    """Stands where aiormq's FrameReceiver stood. Frames of a channel with a sink go there, if it wants them.

    It is the protocol of the connection too, in front of `stream`, which is what a StreamWriter wants to know of: a
    StreamReader would copy every byte three times more, and wake a task for each read.
    """

    def __init__(self, stream: asyncio.StreamReaderProtocol | None = None) -> None:
        self._stream = stream
        self._transport: asyncio.ReadTransport | None = None
        self._view: memoryview = memoryview(bytearray(_READ))
        self._start = self._end = 0  # of what has been read and not been taken
        self._sinks: dict[int, Sink] = {}
        self._passed: deque[bytes] = deque()  # for aiormq; an empty one says no more than that the connection lives
        self._readable = ReadableFrames()
        self._paused = False
        self._sign_due = 0.0
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None
        self.closed: Connection.Close | None = None  # the broker's reason, once it has closed the connection

    def attach(self, channel: int, sink: Sink) -> None:
        """Take effect at the next frame."""
        self._sinks[channel] = sink

    def detach(self, channel: int) -> None:
        """Before the number may be another channel's."""
        self._sinks.pop(channel, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.ReadTransport", transport)
        if self._stream is not None:
            self._stream.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        start, end, view = self._start, self._end, self._view
        if start == end:
            self._start = self._end = end = 0
        elif len(view) - end < _LEAST_READ:
            # A frame that does not fit has twice the room from now on.
            room = view if start else memoryview(bytearray(2 * len(view)))
            room[: end - start] = view[start:end]
            self._view, self._start, self._end = room, 0, end - start
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        if self._error is not None:
            self._start = self._end
            return
        view, at, end, sinks = self._view, self._start, self._end, self._sinks
        taken = False
        while end - at >= AROUND:
            kind, channel, length = START(view, at)
            stop = at + length + AROUND
            if kind not in KINDS or (stop <= end and view[stop - 1] != _END):
                self._fail(_no_frame(bytes(view[at:end])))
                return
            if stop > end:
                break
            sink = sinks.get(channel)
            if sink is not None and sink.take(kind, view, at + 7, stop - 1):
                taken = True
            else:
                self._passed.append(self._readable.frame(kind, channel, bytes(view[at:stop])))
            at = stop
        self._start = at
        if taken and not self._passed and (now := time.monotonic()) >= self._sign_due:
            # aiormq takes the connection for dead when it is handed no frame for three heartbeats.
            self._sign_due = now + _SIGN_SECONDS
            self._passed.append(b"")
        if self._passed:
            self._wake()
            self._slow_down()

    def _slow_down(self) -> None:
        if len(self._passed) > _MOST_PASSED and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._start = self._end
        self._wake()

    def eof_received(self) -> bool | None:
        self._fail(AMQPConnectionError("Server connection unexpectedly closed"))
        return None if self._stream is None else self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = "Server connection unexpectedly closed" if exc is None else f"Server communication error: {exc!r}"
        error = AMQPConnectionError(reason)
        error.__cause__ = exc  # of which a failed handshake is told
        self._fail(error)
        if self._stream is not None:
            self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._stream is not None:
            self._stream.pause_writing()

    def resume_writing(self) -> None:
        if self._stream is not None:
            self._stream.resume_writing()

    def __aiter__(self) -> Frames:
        return self

    async def __anext__(self) -> tuple[int, int, Any]:
        return await self.get_frame()

    async def get_frame(self) -> tuple[int, int, Any]:
        """The next frame that no sink has taken. Raises AMQPConnectionError or InvalidFrameError."""
        while not self._passed:
            if self._error is not None:
                raise self._error
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        data = self._passed.popleft()
        if self._paused and not self._passed and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        if not data:
            return AROUND, 0, Heartbeat()
        found = _frame(data)
        if isinstance(found[2], Connection.Close):
            self.closed = found[2]
        return found


def _no_frame(data: bytes) -> Exception:
    if data.startswith(b"AMQP"):
        return ProtocolSyntaxError("Unexpected AMQP protocol header")
    return InvalidFrameError(f"no AMQP frame: {data[:20]!r}")


def _frame(data: bytes) -> tuple[int, int, Any]:
    try:
        return pamqp.frame.unmarshal(data)
    except PAMQPException as error:
        raise InvalidFrameError(str(error)) from error


async def send(channel: AbstractChannel, payload: bytes) -> None:
    """Frames, encoded, in the order of the calls; returns when they are queued for the connection's writer."""
    await cast("Any", channel).write_queue.put(ChannelFrame(payload=payload, should_close=False))


async def send_through(channel: AbstractChannel, payload: bytes) -> None:
    """`send`, returning when the socket has taken the frames."""
    drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    frame = ChannelFrame(payload=payload, should_close=False, drain_future=drained)
    await cast("Any", channel).write_queue.put(frame)
    await drained


def on_closing(channel: AbstractChannel, callback: Callable[[BaseException | None], None]) -> None:
    """Call back once the channel is closed or its connection is gone: with the reason, if there is one."""

    def closing(future: asyncio.Future[Any]) -> None:
        callback(None if future.cancelled() else future.exception())

    cast("Any", channel).closing.add_done_callback(closing)


# A frame is at most what the broker said at the handshake.
_UNLIMITED = 1 << 17
_BEFORE_PROPERTIES = 12  # bytes of a content header


def largest_frame(channel: AbstractChannel) -> int:
    """Bytes of the largest payload of a frame."""
    return (channel.connection.connection_tune.frame_max or _UNLIMITED) - AROUND


def check_room(properties: bytes, largest: int) -> None:
    """Raise MessageRefused for a property list that does not fit a frame: the broker closes the connection then."""
    size = _BEFORE_PROPERTIES + len(properties)
    if size > largest:
        text = f"properties: {size} bytes with their frame's header, the broker takes {largest} in one frame"
        raise MessageRefused(Refusal(Kind.HEADERS_TOO_LARGE, text, limit=largest))
