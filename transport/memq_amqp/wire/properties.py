"""The property list of a content header (AMQP 0-9-1, section 4.2.6.1), as bytes and as values."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pamqp import decode as read
from pamqp import encode as write

if TYPE_CHECKING:
    from collections.abc import Mapping

_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")

# Bytes that are no UTF-8 go through unchanged: a correlation id is the sender's, and has to come back as he wrote it.
_ERRORS = "surrogateescape"


class Properties(NamedTuple):
    """`headers` is None when the table cannot be read. `timestamp` is as sent, which should be epoch seconds."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] | None = {}
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None


_TEXT, _TABLE, _OCTET, _STAMP = range(4)

# In the order of the standard, which is that of Properties: the first has the highest bit of the flags.
_KINDS = (_TEXT, _TEXT, _TABLE, _OCTET, _OCTET, _TEXT, _TEXT, _TEXT, _TEXT, _STAMP, _TEXT, _TEXT, _TEXT)
_MESSAGE_ID, _TIMESTAMP = 8, 9


def encode(properties: Properties) -> bytes:
    """Flags and values. Raises ValueError for a text of more than 255 bytes and for headers AMQP cannot hold."""
    flags, values = _encoded(properties, range(len(_KINDS)))
    return _U16.pack(flags) + values


def _encoded(properties: Properties, places: range) -> tuple[int, bytes]:
    flags = 0
    parts: list[bytes] = []
    for index in places:
        value: Any = properties[index]
        if value is None or value == {}:
            continue
        flags |= 0x8000 >> index
        kind = _KINDS[index]
        if kind == _TEXT:
            parts.append(_short(value))
        elif kind == _OCTET:
            parts.append(bytes((value,)))
        elif kind == _STAMP:
            parts.append(_U64.pack(value))
        else:
            parts.append(_written(value))
    return flags, b"".join(parts)


class Envelope:
    """Properties encoded once, for messages that differ in message id and timestamp. Raises ValueError as `encode`."""

    def __init__(self, properties: Properties) -> None:
        flags, before = _encoded(properties, range(_MESSAGE_ID))
        more, self._after = _encoded(properties, range(_TIMESTAMP + 1, len(_KINDS)))
        self._before = _U16.pack(flags | more | 0x8000 >> _MESSAGE_ID | 0x8000 >> _TIMESTAMP) + before

    def encoded(self, message_id: str, timestamp: int) -> bytes:
        """The property list. Raises ValueError for a message id of more than 255 bytes."""
        return b"".join((self._before, _short(message_id), _U64.pack(timestamp), self._after))


def _short(text: str) -> bytes:
    data = text.encode("utf-8", _ERRORS)
    if len(data) > 255:
        raise ValueError(f"a property of {len(data)} bytes; AMQP takes 255")
    return bytes((len(data),)) + data


def _written(headers: Mapping[str, Any]) -> bytes:
    try:
        return write.field_table(dict(headers))
    except (TypeError, OverflowError, struct.error) as error:
        raise ValueError(f"headers: {error}") from error


def decode(data: bytes) -> Properties:
    """The values of a property list. Never raises for what a sender can choose."""
    (flags,) = _U16.unpack_from(data)
    at = 2
    values: list[Any] = [None, None, _NO_HEADERS, *_NONE]
    for index, kind in _layout(flags):
        if kind == _TEXT:
            stop = at + 1 + data[at]
            values[index] = data[at + 1 : stop].decode("utf-8", _ERRORS)
            at = stop
        elif kind == _OCTET:
            values[index] = data[at]
            at += 1
        elif kind == _STAMP:
            (values[index],) = _U64.unpack_from(data, at)
            at += 8
        else:
            stop = at + 4 + int.from_bytes(data[at : at + 4], "big")
            values[index] = _table(data[at:stop])
            at = stop
    return Properties._make(values)


_NO_HEADERS: Mapping[str, Any] = {}
_EMPTY = 4  # bytes of a table without entries: its length
_NONE = (None,) * 10


@lru_cache(maxsize=256)
def _layout(flags: int) -> tuple[tuple[int, int], ...]:
    return tuple((index, kind) for index, kind in enumerate(_KINDS) if flags & 1 << (15 - index))


def _table(data: bytes) -> Mapping[str, Any] | None:
    if len(data) == _EMPTY:
        return _NO_HEADERS
    try:
        return read.field_table(data)[1]
    except (ValueError, TypeError, OverflowError, ArithmeticError, OSError, RecursionError, struct.error, IndexError):
        # A type this library does not know, a date beyond its calendar, a key that is no UTF-8: the sender's doing, and
        # no reason to lose the connection with everything that waits on it.
        return None
