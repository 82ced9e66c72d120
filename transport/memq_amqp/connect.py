"""Connections of aio_pika that read through `Frames`, where the installed aiormq is one that is known."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import aio_pika
import aiormq.connection
import pamqp.frame
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from memq_amqp.wire.deliveries import Deliveries
from memq_amqp.wire.frames import Frames
from memq_amqp.wire.properties import decode

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection
    from yarl import URL

# What is replaced is no public interface of aiormq, so only releases that have been read are trusted.
KNOWN = "7.2."

_stock: Any = aiormq.connection.FrameReceiver


class _Connection(aio_pika.Connection):
    """Is closed when it cannot be made; else the garbage collector does it, maybe on a thread that has no loop."""

    async def connect(self, timeout: float | None = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


class _FastConnection(_Connection):
    """Reads through frames of ours."""

    def __init__(self, url: URL, **options: Any) -> None:
        super().__init__(url, **options)
        self.opening = _Opening()
        self.kwargs["transport_factory"] = self.opening


class _Opening(TransportFactory):
    frames: Frames | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[Any, asyncio.StreamWriter]:
        """What asyncio.open_connection does, but that what is read goes to frames and they are returned as reader."""
        security = kwargs.pop("ssl_context_provider")
        context = await security.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        stream = asyncio.StreamReaderProtocol(reader, loop=loop)
        self.frames = frames = Frames(stream)
        try:
            made: tuple[asyncio.Transport, Any] = await loop.create_connection(
                lambda: frames, host=url.host or "", port=url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return frames, asyncio.StreamWriter(made[0], stream, reader, loop)


def _receiver(reader: Any) -> Any:
    """Whoever else uses aiormq in this process gets aiormq's own."""
    return reader if isinstance(reader, Frames) else _stock(reader)


async def connect(url: str | URL, **options: Any) -> AbstractConnection:
    """aio_pika.connect, reading through frames of ours unless `unusable` says why not. Raises as aio_pika."""
    if unusable() is not None:
        return await connect_stock(url, **options)
    aiormq.connection.FrameReceiver = _receiver  # type: ignore[assignment,misc]
    return await aio_pika.connect(url, connection_class=_FastConnection, **options)


async def connect_stock(url: str | URL, **options: Any) -> AbstractConnection:
    """aio_pika.connect, reading as aiormq does. Raises as aio_pika."""
    return await aio_pika.connect(url, connection_class=_Connection, **options)


def frames_of(connection: AbstractConnection) -> Frames | None:
    """What the connection reads through; None when that is aiormq's own."""
    return connection.opening.frames if isinstance(connection, _FastConnection) else None


@cache
def unusable() -> str | None:
    """Why frames are left to aiormq: another release than those known, or one that behaves otherwise; None if not."""
    installed = version("aiormq")
    if not installed.startswith(KNOWN):
        return f"aiormq {installed} is not one of {KNOWN}x"
    try:
        read = _read_back()
    except Exception as error:  # noqa: BLE001  (whatever has changed there, the stock way is left)
        return f"aiormq {installed}: {type(error).__name__} in the self-test"
    return None if read == _EXPECTED else f"aiormq {installed}: the self-test read something else"


_EXPECTED = [(7, True, "upsert.a", "c", {"k": 1}, b"xyz"), "Ack"]


def _read_back() -> list[Any]:
    """What a delivery in two body frames, and a frame of aiormq's own, come to."""
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

    def delivered(tag: int, redelivered: bool, key: str, properties: bytes, body: bytes) -> None:
        read = decode(properties)
        found.append((tag, redelivered, key, read.correlation_id, dict(read.headers or {}), body))

    frames.attach(1, Deliveries(delivered))
    frames.get_buffer(-1)[: len(data)] = data
    frames.buffer_updated(len(data))
    try:
        # Everything is there, so it never waits.
        frames.get_frame().send(None)
    except StopIteration as end:
        found.append(type(end.value[2]).__name__)
    return found
