"""Confirmed, mandatory publishing on a channel that is used for nothing else."""

from __future__ import annotations

import asyncio
import itertools
import struct
from typing import TYPE_CHECKING
from uuid import uuid4

import pamqp.frame
from pamqp.commands import Basic

from memq_transport.channel import on_closing, send_through
from memq_transport.frames import BODY, HEADER
from memq_transport.properties import Properties, decode, encode

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

_ACK, _NACK, _RETURN = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x78", b"\x00\x3c\x00\x32"
_CONFIRM = struct.Struct(">QB").unpack_from  # delivery tag, multiple
_U64 = struct.Struct(">Q").unpack_from
_CONTENT = struct.Struct(">BHIHHQ").pack  # frame start, class, weight, body size
_FRAME = struct.Struct(">BHI").pack
_END = b"\xce"

# A frame is at most what the broker said at the handshake, with these around its payload.
_AROUND = 8
_UNLIMITED = 1 << 17

_KEYS = 1024


class Lost(Exception):
    """The channel or connection went away; whether the broker has the message is unknown."""


class Refused(Exception):
    """The broker nacked the message: a full queue, or a quorum queue electing its leader."""


class Returned(Exception):
    """No queue takes messages of this exchange and routing key."""


class ConfirmingPublisher:
    """Takes a channel in confirm mode, and is its sink: memq_transport.frames.Sink.

    Publishes of one turn of the event loop go out in one write, and the next write waits until the socket took it, so a
    slow broker slows its publishers. How many may be unconfirmed is theirs to limit.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._largest = (channel.connection.connection_tune.frame_max or _UNLIMITED) - _AROUND
        self._numbers = itertools.count(1)
        self._token = uuid4().hex
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._tags: dict[str, int] = {}  # message id -> delivery tag, which a returned message does not carry
        self._out: list[bytes] = []
        self._methods: dict[tuple[str, str], bytes] = {}
        self._due = asyncio.Event()
        self._missing = -1
        self._lost: Lost | None = None
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="memq-publisher")
        on_closing(channel, self._closed)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Returns once the broker has confirmed; has no timeout of its own, and no limit on what is unconfirmed.

        `message_id` is replaced by one of this attempt's own. Raises Returned, Refused, Lost, and ValueError for
        properties that AMQP cannot hold.
        """
        if self._lost is not None:
            raise Lost(str(self._lost))
        tag = next(self._numbers)
        message_id = f"{self._token}-{tag}"
        try:
            self._append(exchange, routing_key, body, encode(properties._replace(message_id=message_id)))
        except BaseException:
            # Nothing was written, so the broker will not count it.
            self._numbers = itertools.count(tag)
            raise
        confirm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[tag] = confirm
        self._tags[message_id] = tag
        self._due.set()
        try:
            await confirm
        finally:
            self._tags.pop(message_id, None)

    def close(self) -> None:
        """Fails what is unconfirmed with Lost."""
        self._writer.cancel()
        self._fail("the channel was closed")

    def _append(self, exchange: str, routing_key: str, body: bytes, properties: bytes) -> None:
        number, out = self._channel.number, self._out
        method = self._methods.get((exchange, routing_key))
        if method is None:
            if len(self._methods) >= _KEYS:
                self._methods.clear()
            method = self._methods[exchange, routing_key] = pamqp.frame.marshal(
                Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True), number
            )
        size, step = len(body), self._largest
        out.append(method)
        out.append(_CONTENT(2, number, 12 + len(properties), 60, 0, size) + properties + _END)
        for at in range(0, size, step):
            part = body if size <= step else body[at : at + step]
            out += (_FRAME(3, number, len(part)), part, _END)

    async def _write(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            payload = b"".join(self._out)
            self._out.clear()
            await send_through(self._channel, payload)

    def take(self, kind: int, buffer: bytes, start: int, stop: int) -> bool:
        if self._missing >= 0 and kind in (HEADER, BODY):
            self._content(kind, buffer, start, stop)
            return True
        self._missing = -1
        method = buffer[start : start + 4]
        if method in (_ACK, _NACK):
            tag, bits = _CONFIRM(buffer, start + 4)
            self._confirmed(tag, multiple=bool(bits & 1), kept=method == _ACK)
            return True
        if method == _RETURN:
            self._missing = 0
            return True
        return False

    def _content(self, kind: int, buffer: bytes, start: int, stop: int) -> None:
        """Of a returned message: it comes back whole, before its confirm."""
        if kind == HEADER:
            (self._missing,) = _U64(buffer, start + 4)
            tag = self._tags.get(decode(buffer[start + 12 : stop]).message_id or "")
            if tag is not None:
                self._settle(tag, Returned())
        else:
            self._missing -= stop - start
        if self._missing == 0:
            self._missing = -1

    def _confirmed(self, tag: int, *, multiple: bool, kept: bool) -> None:
        outcome = None if kept else Refused()
        tags = [tag]
        if multiple:
            tags = list(itertools.takewhile(lambda waiting: waiting <= tag, self._waiting))
        for confirmed in tags:
            self._settle(confirmed, outcome)
            self._waiting.pop(confirmed, None)

    def _settle(self, tag: int, outcome: Exception | None) -> None:
        confirm = self._waiting.get(tag)
        # Done already: returned before its confirm, or its publisher has given up.
        if confirm is None or confirm.done():
            return
        if outcome is None:
            confirm.set_result(None)
        else:
            confirm.set_exception(outcome)

    def _closed(self) -> None:
        self._writer.cancel()
        self._fail("the channel was lost")

    def _fail(self, reason: str) -> None:
        if self._lost is None:
            self._lost = Lost(reason)
        for tag in list(self._waiting):
            self._settle(tag, Lost(reason))
        self._waiting.clear()
