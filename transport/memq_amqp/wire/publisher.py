"""Confirmed, mandatory publishing on a channel that is used for nothing else, with frames of ours."""

from __future__ import annotations

import asyncio
import itertools
import struct
from typing import TYPE_CHECKING
from uuid import uuid4

from memq_amqp.loss import Lost, Refused, Returned, outcome_of
from memq_amqp.tasks import stop
from memq_amqp.wire.frames import BODY, HEADER, check_room, largest_frame, on_closing, send_through
from memq_amqp.wire.properties import decode, encode, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiormq.abc import AbstractChannel

    from memq_schemas.properties import Properties

    Confirm = asyncio.Future[None]
    OnConfirm = Callable[[], None] | None

_ACK, _NACK, _RETURN = 60 << 16 | 80, 60 << 16 | 120, 60 << 16 | 50  # class basic and the method
_U32 = struct.Struct(">I").unpack_from
_CONFIRM = struct.Struct(">QB").unpack_from  # delivery tag, multiple
_U64 = struct.Struct(">Q").unpack_from
_CONTENT = struct.Struct(">BHIHHQ").pack  # frame start, class, weight, body size
_BODY = struct.Struct(">BBHI").pack  # end of the frame before, frame start
_METHOD = struct.Struct(">BHI").pack
_END = b"\xce"

_KEYS = 1024

_SURELY_FITS = 4096 - 20  # bytes of properties for which every broker's frames have room


class ConfirmingPublisher:
    """Takes a channel in confirm mode, and is its sink: memq_amqp.wire.frames.Sink.

    Publishes of one turn of the event loop go out in one write, and the next write waits until the socket took it, so a
    slow broker slows its publishers. How many may be unconfirmed is theirs to limit.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._number = channel.number
        self._largest = largest_frame(channel)
        self._token = uuid4().hex
        self._attempts = itertools.count(1)
        self._last = 0  # delivery tag
        # Not handed to the socket yet, by message id: what its publisher gives up before that is never sent.
        self._out: dict[str, tuple[Confirm, OnConfirm, tuple[bytes, ...], int]] = {}
        self._waiting: dict[int, tuple[Confirm, OnConfirm, str, int]] = {}
        self._tags: dict[str, int] = {}  # by message id: a returned message does not carry its delivery tag
        self._methods: dict[tuple[str, str], bytes] = {}
        self._due = asyncio.Event()
        self._missing = -1
        self._closed = False
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._writer = self._loop.create_task(self._write(), name="memq-publisher")
        on_closing(channel, self._fail)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        message_id = f"{self._token}-{next(self._attempts)}"
        encoded = encode(properties._replace(message_id=message_id))
        await self.publish_encoded(exchange, routing_key, body, message_id, encoded)

    async def publish_encoded(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        message_id: str,
        properties: bytes,
        on_confirm: OnConfirm = None,
    ) -> None:
        if self._closed:
            raise outcome_of(self._error, len(body))
        if message_id in self._out or message_id in self._tags:
            raise ValueError(f"message_id {message_id!r} is already in flight; expected another one for each attempt")
        confirm: Confirm = self._loop.create_future()
        frames = self._frames(exchange, routing_key, body, properties)
        self._out[message_id] = (confirm, on_confirm, frames, len(body))
        self._due.set()
        try:
            await confirm
        except asyncio.CancelledError:
            self._out.pop(message_id, None)
            raise

    def close(self, reason: str = "the channel was closed") -> None:
        """Fails what is unconfirmed with Lost, and what comes later too."""
        self._fail(Lost(reason))

    def _frames(self, exchange: str, routing_key: str, body: bytes, properties: bytes) -> tuple[bytes, ...]:
        number, size, step = self._number, len(body), self._largest
        if len(properties) > _SURELY_FITS:
            check_room(properties, step)
        method = self._methods.get((exchange, routing_key)) or self._method(exchange, routing_key)
        header = _CONTENT(2, number, 12 + len(properties), 60, 0, size)
        if not size:
            return method, header, properties, _END
        if size <= step:
            return method, header, properties, _BODY(0xCE, 3, number, size), body, _END
        parts = [body[at : at + step] for at in range(0, size, step)]
        framed = (piece for part in parts for piece in (_BODY(0xCE, 3, number, len(part)), part))
        return method, header, properties, *framed, _END

    def _method(self, exchange: str, routing_key: str) -> bytes:
        if len(self._methods) >= _KEYS:
            self._methods.clear()
        # By hand: pamqp takes no routing key that is not UTF-8, and a copy keeps the key of its message.
        payload = b"\x00\x3c\x00\x28\x00\x00" + short(exchange) + short(routing_key) + b"\x01"
        method = self._methods[exchange, routing_key] = _METHOD(1, self._number, len(payload)) + payload + _END
        return method

    async def _write(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            out, self._out = self._out, {}
            parts: list[bytes] = []
            for message_id, (confirm, on_confirm, frames, size) in out.items():
                if confirm.done():
                    continue
                # The broker counts what it is sent, so a tag is given to nothing else.
                self._last += 1
                self._waiting[self._last] = (confirm, on_confirm, message_id, size)
                self._tags[message_id] = self._last
                parts += frames
            if parts:
                await send_through(self._channel, b"".join(parts))

    def take(self, kind: int, buffer: memoryview, start: int, stop: int) -> bool:
        if self._missing >= 0 and kind in (HEADER, BODY):
            self._content(kind, buffer, start, stop)
            return True
        self._missing = -1
        (method,) = _U32(buffer, start)
        if method in (_ACK, _NACK):
            tag, bits = _CONFIRM(buffer, start + 4)
            self._confirmed(tag, multiple=bool(bits & 1), confirmed=method == _ACK)
            return True
        if method == _RETURN:
            self._missing = 0
            return True
        return False

    def _content(self, kind: int, buffer: memoryview, start: int, stop: int) -> None:
        """Read the content of a returned message, which arrives whole before its confirm."""
        if kind == HEADER:
            (self._missing,) = _U64(buffer, start + 4)
            tag = self._tags.get(decode(bytes(buffer[start + 12 : stop])).message_id or "")
            if tag is not None:
                _settle(self._waiting[tag][0], Returned())
        else:
            self._missing -= stop - start
        if self._missing == 0:
            self._missing = -1

    def _confirmed(self, tag: int, *, multiple: bool, confirmed: bool) -> None:
        first = next(iter(self._waiting), tag) if multiple else tag
        for each in range(first, min(tag, self._last) + 1):
            entry = self._waiting.pop(each, None)
            if entry is not None:
                confirm, on_confirm, message_id, _ = entry
                del self._tags[message_id]
                if confirmed and on_confirm is not None:
                    on_confirm()
                _settle(confirm, None if confirmed else Refused())

    def _fail(self, error: BaseException | None) -> None:
        stop(self._writer)
        if not self._closed:
            self._closed, self._error = True, error
        for confirm, _, _, size in (*self._waiting.values(), *self._out.values()):
            _settle(confirm, outcome_of(self._error, size))
        for entries in (self._waiting, self._out, self._tags):
            entries.clear()


def _settle(confirm: Confirm, outcome: Exception | None) -> None:
    # Done already: returned before its confirm, or its publisher has given up.
    if confirm.done():
        return
    if outcome is None:
        confirm.set_result(None)
    else:
        confirm.set_exception(outcome)
