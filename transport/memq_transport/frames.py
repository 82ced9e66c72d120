"""Frames out of the socket's buffer (AMQP 0-9-1, section 4.2.3)."""

from __future__ import annotations

import struct
from typing import Any, Protocol

import pamqp.frame
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from pamqp.exceptions import PAMQPException
from pamqp.heartbeat import Heartbeat

METHOD, HEADER, BODY = 1, 2, 3

_START = struct.Struct(">BHI").unpack_from  # type, channel, size
_END = 0xCE
_READ = 1 << 16


class Sink(Protocol):
    def take(self, kind: int, buffer: bytes, start: int, stop: int) -> bool:
        """Whether the frame, whose payload is buffer[start:stop], was one of ours; if not, aiormq gets it."""
        ...


class Reader(Protocol):
    """What is used of asyncio.StreamReader."""

    async def read(self, n: int, /) -> bytes: ...

    async def readexactly(self, n: int, /) -> bytes: ...


class Frames:
    """Stands where aiormq's FrameReceiver stood. Frames of a channel with a sink go there, if it wants them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._buffer = b""
        self._at = 0
        self._sinks: dict[int, Sink] = {}

    def attach(self, channel: int, sink: Sink) -> None:
        """From the next frame on."""
        self._sinks[channel] = sink

    def detach(self, channel: int) -> None:
        """Before the number may be another channel's."""
        self._sinks.pop(channel, None)

    def __aiter__(self) -> Frames:
        return self

    async def __anext__(self) -> tuple[int, int, Any]:
        return await self.get_frame()

    async def get_frame(self) -> tuple[int, int, Any]:
        """The next frame that no sink has taken. Raises AMQPConnectionError or InvalidFrameError."""
        while True:
            buffer, at = self._buffer, self._at
            size, taken = len(buffer), False
            while size - at >= 8:
                kind, channel, length = _START(buffer, at)
                stop = at + length + 8
                if stop > size:
                    break
                sink = self._sinks.get(channel)
                if sink is not None and buffer[stop - 1] == _END and sink.take(kind, buffer, at + 7, stop - 1):
                    at = stop
                    taken = True
                    continue
                self._at = stop
                return _frame(buffer[at:stop])
            self._at = at
            if taken:
                # aiormq takes the connection for dead when it is handed no frame for three heartbeats.
                return 8, 0, Heartbeat()
            await self._fill()

    async def _fill(self) -> None:
        rest = self._buffer[self._at :]
        missing = 0
        if len(rest) >= 8:
            if rest.startswith(b"AMQP"):
                raise ProtocolSyntaxError("Unexpected AMQP protocol header")
            missing = _START(rest, 0)[2] + 8 - len(rest)
        try:
            # At least what the frame still lacks, so that a large one is not joined together again at every read.
            data = await (self._reader.readexactly(missing) if missing > _READ else self._reader.read(_READ))
        except EOFError as error:
            raise AMQPConnectionError("Server connection unexpectedly closed") from error
        except OSError as error:
            raise AMQPConnectionError(f"Server communication error: {error!r}") from error
        if not data:
            raise AMQPConnectionError("Server connection unexpectedly closed")
        self._buffer = rest + data
        self._at = 0


def _frame(data: bytes) -> tuple[int, int, Any]:
    try:
        return pamqp.frame.unmarshal(data)
    except PAMQPException as error:
        raise InvalidFrameError(str(error)) from error
