"""Connections of aio_pika that read through `Frames`, where the installed aiormq is one that is known."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import aio_pika
import aiormq.connection
import pamqp.frame
from aiormq.exceptions import AMQPConnectionError, ConnectionClosed, InvalidFrameError
from pamqp.body import ContentBody
from pamqp.commands import Basic, Connection
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

from memq_amqp.address import Address, parse
from memq_amqp.loss import cancellable
from memq_amqp.tls import TlsError
from memq_amqp.wire.deliveries import Deliveries
from memq_amqp.wire.frames import AROUND, KINDS, METHOD, START, Frames
from memq_amqp.wire.readable_frames import ReadableFrames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aio_pika.abc import AbstractConnection
    from yarl import URL

    from memq_schemas.properties import Properties

# What is replaced is no public interface of aiormq, so only releases that have been read are trusted.
KNOWN = "7.2."

# Looked up, not imported: a release that has renamed them costs the fast codec and nothing else.
_stock: Any = getattr(aiormq.connection, "FrameReceiver", None)
_TransportFactory: Any = getattr(aiormq.connection, "TransportFactory", object)

# Tasks that aiormq and aio_pika start while a connection ends, and await nowhere. Each is short.
_ENDINGS = frozenset(
    ("Connection._on_reader_done.<locals>.close_writer_task", "FutureStore.reject_all", "OneShotCallback.__task_inner")
)
_ENDING_SECONDS = 1.0
# A loss goes from one of them to the next by callbacks, a turn of the loop each, between which none of them runs.
_ENDING_TURNS = 4

log = logging.getLogger("memq")


class _Connection(aio_pika.Connection):
    """A connection that reads as aiormq does.

    It is closed when it cannot be made; else the garbage collector does it, perhaps on a thread without a loop.
    """

    reads_frames = False

    def __init__(self, url: URL, **options: Any) -> None:
        super().__init__(url, **options)
        self.opening = _Opening(fast=self.reads_frames)
        self.kwargs["transport_factory"] = self.opening

    async def connect(self, timeout: float | None = None) -> None:
        try:
            with cancellable():
                await super().connect(timeout)
        except InvalidFrameError as error:
            await self.close()
            # aiormq expects the broker to accept the virtual host, and drops the close that says why it does not.
            if (close := self.opening.closed) is None:
                raise
            raise ConnectionClosed(close.reply_code, close.reply_text) from error
        except BaseException:
            await self.close()
            raise

    async def close(self, exc: Any = ConnectionClosed) -> None:
        """Close, and wait for what the libraries leave running: a loop that ends first destroys it with a warning."""
        try:
            await super().close(exc)
        finally:
            await _endings()


async def _endings() -> None:
    """Wait until no connection of this loop is ending, at most a second: a callback of one may wait for this."""
    own = asyncio.current_task()
    turns = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_ENDING_SECONDS):
            while turns < _ENDING_TURNS:
                if ending := [task for task in asyncio.all_tasks() if task is not own and _name(task) in _ENDINGS]:
                    await asyncio.wait(ending)
                    turns = 0
                else:
                    await asyncio.sleep(0)
                    turns += 1


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")


class _FastConnection(_Connection):
    """A connection that reads through `Frames`."""

    reads_frames = True


class _Opening(_TransportFactory):
    """Opens the socket as asyncio.open_connection does, with a reader of ours."""

    def __init__(self, *, fast: bool) -> None:
        self._fast = fast
        self.frames: Frames | None = None
        self._reader: _Reader | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[Any, asyncio.StreamWriter]:
        security = kwargs.pop("ssl_context_provider")
        context = await security.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = self._reader = _Reader(loop=loop)
        stream = asyncio.StreamReaderProtocol(reader, loop=loop)
        self.frames = frames = Frames(stream) if self._fast else None
        try:
            made: tuple[asyncio.Transport, Any] = await loop.create_connection(
                lambda: frames or stream, host=url.host or "", port=url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return frames or reader, asyncio.StreamWriter(made[0], stream, reader, loop)

    @property
    def closed(self) -> Connection.Close | None:
        """The close that the broker has sent."""
        reader = self.frames or self._reader
        return None if reader is None else reader.closed


class _Reader(asyncio.StreamReader):
    """A reader for aiormq: hands on frames that pamqp can read, and keeps the broker's reason to close."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.closed: Connection.Close | None = None
        self._readable = ReadableFrames()
        self._waiting = bytearray()  # an incomplete frame
        self._foreign = False

    def feed_data(self, data: Any) -> None:
        if self._foreign:
            super().feed_data(data)
            return
        self._waiting += data
        for frame in self._whole():
            super().feed_data(frame)
        if self._foreign:
            super().feed_data(self._waiting)

    def feed_eof(self) -> None:
        # What aiormq cannot read either is its to report.
        if self._waiting and not self._foreign:
            super().feed_data(self._waiting)
        super().feed_eof()

    def _whole(self) -> Iterator[bytes]:
        """The complete frames of what is waiting."""
        waiting, at = self._waiting, 0
        while len(waiting) - at >= AROUND:
            kind, channel, length = START(waiting, at)
            if kind not in KINDS:
                self._foreign = True
                break
            stop = at + length + AROUND
            if stop > len(waiting):
                break
            frame = self._readable.frame(kind, channel, bytes(waiting[at:stop]))
            if kind == METHOD and channel == 0 and self.closed is None:
                self.closed = _close(frame)
            yield frame
            at = stop
        del waiting[:at]


def _close(frame: bytes) -> Connection.Close | None:
    try:
        found = pamqp.frame.unmarshal(frame)[2]
    except PAMQPException:
        return None
    return found if isinstance(found, Connection.Close) else None


def _receiver(reader: Any) -> Any:
    """Leave aiormq's own transport to other users of aiormq in this process."""
    return reader if isinstance(reader, Frames) else _stock(reader)


async def connect(broker: Address | str, **options: Any) -> AbstractConnection:
    """aio_pika.connect, reading through `Frames` unless `unusable` says why not. Raises as aio_pika.

    Where aiormq, on this first real connection, turns out to use its reader otherwise, the stock codec takes over.
    """
    if unusable() is not None or _broken:
        return await connect_stock(broker, **options)
    aiormq.connection.FrameReceiver = _receiver  # type: ignore[assignment,misc]
    try:
        return await _connected(broker, _FastConnection, options)
    except (AttributeError, TypeError, NameError) as error:
        reason = f"aiormq {version('aiormq')}: {type(error).__name__} on a connection: {error}"
        _broken.append(reason)
        log.warning("falling back to aiormq's frame codec", extra={"reason": reason})
        return await connect_stock(broker, **options)


_broken: list[str] = []


async def connect_stock(broker: Address | str, **options: Any) -> AbstractConnection:
    """aio_pika.connect, reading as aiormq does. Raises as aio_pika."""
    return await _connected(broker, _Connection, options)


async def _connected(broker: Address | str, kind: type[_Connection], options: dict[str, Any]) -> AbstractConnection:
    address = parse(broker)[0] if isinstance(broker, str) else broker
    try:
        # Of each connection anew: certificates may have been renewed.
        context = None if address.tls is None else await asyncio.to_thread(address.tls.context)
    except TlsError as error:
        raise AMQPConnectionError(str(error)) from error
    return await aio_pika.connect(address.url, connection_class=kind, ssl_context=context, **options)


def frames_of(connection: AbstractConnection) -> Frames | None:
    """Frame reader of the connection; None if aiormq's own is in use."""
    return connection.opening.frames if isinstance(connection, _FastConnection) else None


@cache
def unusable() -> str | None:
    """Why frames are left to aiormq: another release than those known, or one that behaves otherwise; None if not."""
    installed = version("aiormq")
    if not installed.startswith(KNOWN):
        return f"aiormq {installed} is not one of {KNOWN}x"
    if _stock is None or _TransportFactory is object:
        return f"aiormq {installed} has no FrameReceiver or no TransportFactory"
    try:
        read = _read_back()
    except Exception as error:  # noqa: BLE001  (whatever has changed there, the stock way is left)
        return f"aiormq {installed}: {type(error).__name__} in the self-test"
    return None if read == _EXPECTED else f"aiormq {installed}: the self-test read something else"


_EXPECTED = [(7, True, "exchange", "upsert.a", "c", {"k": 1}, b"xyz"), "Ack"]


def _read_back() -> list[Any]:
    """Result of decoding a delivery in two body frames, and a frame that aiormq handles."""
    header = ContentHeader(0, 3, Basic.Properties(correlation_id="c", headers={"k": 1}))
    sent = (
        Basic.Deliver("tag", 7, True, "exchange", "upsert.a"),
        header,
        ContentBody(b"x"),
        ContentBody(b"yz"),
        Basic.Ack(1, False),
    )
    data = b"".join(pamqp.frame.marshal(frame, 1 if frame is not sent[-1] else 2) for frame in sent)
    frames = Frames()
    found: list[Any] = []

    def delivered(tag: int, redelivered: bool, exchange: str, key: str, read: Properties, body: bytes) -> None:
        found.append((tag, redelivered, exchange, key, read.correlation_id, dict(read.headers or {}), body))

    frames.attach(1, Deliveries(delivered))
    frames.get_buffer(-1)[: len(data)] = data
    frames.buffer_updated(len(data))
    try:
        # Everything is there, so it never waits.
        frames.get_frame().send(None)
    except StopIteration as end:
        found.append(type(end.value[2]).__name__)
    return found
