"""Deliveries of one channel, put together without a task, a queue or an object for each frame."""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from memq_amqp.loss import Lost
from memq_amqp.wire.frames import BODY, HEADER, send
from memq_amqp.wire.properties import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiormq.abc import AbstractChannel

    from memq_schemas.properties import Properties

    Receive = Callable[[int, bool, str, str, Properties, bytes], None]
    """Delivery tag, redelivered, exchange, routing key, properties, body. Must not raise."""

_DELIVER = 60 << 16 | 60  # class basic, method deliver
_U32 = struct.Struct(">I").unpack_from
_U64 = struct.Struct(">Q").unpack_from
_SETTLE = struct.Struct(">BHIHHQBB").pack


class Deliveries:
    """A sink for a channel that consumes: memq_amqp.wire.frames.Sink."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._open = False
        self._tag = 0
        self._redelivered = False
        self._exchange = self._key = ""
        self._raw_exchange = b""
        self._properties = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def take(self, kind: int, buffer: memoryview, start: int, stop: int) -> bool:
        if kind == BODY and self._open:
            part = bytes(buffer[start:stop])
            if len(part) == self._missing and not self._parts:
                self._complete(part)
            else:
                self._part(part)
            return True
        if kind == HEADER and self._open:
            (self._missing,) = _U64(buffer, start + 4)
            self._properties = bytes(buffer[start + 12 : stop])
            if not self._missing:
                self._complete(b"")
            return True
        # The broker never interleaves methods with content on one channel, but a close may cut a delivery short.
        self._open = False
        self._parts = []
        if _U32(buffer, start)[0] != _DELIVER:
            return False
        at = start + 5 + buffer[start + 4]  # behind the consumer tag
        (self._tag,) = _U64(buffer, at)
        self._redelivered = buffer[at + 8] == 1
        stop = at + 10 + buffer[at + 9]
        exchange = bytes(buffer[at + 10 : stop])
        if exchange != self._raw_exchange:  # seldom: most messages of a queue come through one exchange
            self._raw_exchange = exchange
            self._exchange = str(exchange, "utf-8", "surrogateescape")
        at = stop
        self._key = str(buffer[at + 1 : at + 1 + buffer[at]], "utf-8", "surrogateescape")
        self._open = True
        return True

    def _part(self, part: bytes) -> None:
        self._missing -= len(part)
        self._parts.append(part)
        if self._missing <= 0:
            body = b"".join(self._parts)
            self._parts = []
            self._complete(body)

    def _complete(self, body: bytes) -> None:
        self._open = False
        self._receive(self._tag, self._redelivered, self._exchange, self._key, decode(self._properties), body)


class How(Enum):
    """Ways to settle a delivery: acknowledge it, queue it again, or give it up to a dead-letter exchange."""

    ACK = auto()
    REQUEUE = auto()
    REJECT = auto()


class Settlement(NamedTuple):
    how: How
    tag: int
    multiple: bool
    """True to settle every older delivery that is not settled yet in the same way."""


async def settle(channel: AbstractChannel, settlements: Iterable[Settlement]) -> None:
    """Queue settlements for one write, in this order. Raises Lost on a closed channel.

    Waits for room in the connection's queue, even on a connection that is lost: call it in a task that ends then.
    """
    if channel.is_closed:
        raise Lost("the channel was closed")
    number = channel.number
    payload = b"".join(
        _SETTLE(1, number, 13, 60, 80, tag, multiple, 0xCE)
        if how is How.ACK
        else _SETTLE(1, number, 13, 60, 120, tag, multiple | (2 if how is How.REQUEUE else 0), 0xCE)
        for how, tag, multiple in settlements
    )
    if payload:
        await send(channel, payload)
