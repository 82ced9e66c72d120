"""The property list of a content header (AMQP 0-9-1, section 4.2.6.1), as bytes and as values."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from memq_amqp.wire.table import STAMP, Table, encode_table
from memq_schemas.properties import NO_HEADERS, Properties

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")

# Bytes that are not UTF-8 go through unchanged: a correlation id is the sender's, and has to come back as written.
_ERRORS = "surrogateescape"

_TEXT, _TABLE, _OCTET, _STAMP = range(4)

# In the order of the standard, which is that of Properties: the first has the highest bit of the flags.
_KINDS = (_TEXT, _TEXT, _TABLE, _OCTET, _OCTET, _TEXT, _TEXT, _TEXT, _TEXT, _STAMP, _TEXT, _TEXT, _TEXT, _TEXT)
_HEADERS, _MESSAGE_ID, _TIMESTAMP = 2, 8, 9


def encode(properties: Properties) -> bytes:
    """Flags and values. Raises ValueError for a text of more than 255 bytes and for headers AMQP cannot hold."""
    flags, values = _encoded(properties, range(len(_KINDS)))
    return _U16.pack(flags) + values


def _encoded(properties: Properties, places: range) -> tuple[int, bytes]:
    flags = 0
    parts: list[bytes] = []
    for index in places:
        value: Any = properties[index]
        kind = _KINDS[index]
        if value is None or (kind == _TABLE and not value):
            continue
        flags |= 0x8000 >> index
        if kind == _TEXT:
            parts.append(short(value))
        elif kind == _OCTET:
            parts.append(bytes((value,)))
        elif kind == _STAMP:
            parts.append(_U64.pack(value))
        else:
            parts.append(encode_table(value))
    return flags, b"".join(parts)


class Envelope:
    """Properties encoded once, for messages that differ in message id and time. Raises ValueError as `encode`.

    The only header is the time of sending.
    """

    def __init__(self, properties: Properties) -> None:
        flags, first = _encoded(properties, range(_HEADERS))
        middle, self._between = _encoded(properties, range(_HEADERS + 1, _MESSAGE_ID))
        last, self._after = _encoded(properties, range(_TIMESTAMP + 1, len(_KINDS)))
        own = 0x8000 >> _HEADERS | 0x8000 >> _MESSAGE_ID | 0x8000 >> _TIMESTAMP
        self._before = _U16.pack(flags | middle | last | own) + first + _U32.pack(len(STAMP) + 8) + STAMP

    def encoded(self, message_id: str, sent_ms: int) -> bytes:
        """The property list. Raises ValueError for a message id of more than 255 bytes."""
        stamp, seconds = _U64.pack(sent_ms), _U64.pack(sent_ms // 1000)
        return b"".join((self._before, stamp, self._between, short(message_id), seconds, self._after))


def short(text: str) -> bytes:
    """A short string. Raises ValueError for more than 255 bytes."""
    data = text.encode("utf-8", _ERRORS)
    if len(data) > 255:
        raise ValueError(f"property: {len(data)} bytes, at most 255 are allowed in AMQP")
    return bytes((len(data),)) + data


def decode(data: bytes) -> Properties:
    """The values of a property list. Never raises: what is cut off in the middle is left out."""
    values: list[Any] = [None, None, NO_HEADERS, *_NONE]
    try:
        (flags,) = _U16.unpack_from(data)
        at = 2
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
                if stop - at > _EMPTY:
                    values[index] = Table(data[at + 4 : stop])
                at = stop
    except (IndexError, struct.error):
        pass
    return Properties._make(values)


_EMPTY = 4  # bytes of a table without entries: its length
_NONE = (None,) * 11


@lru_cache(maxsize=256)
def _layout(flags: int) -> tuple[tuple[int, int], ...]:
    return tuple((index, kind) for index, kind in enumerate(_KINDS) if flags & 1 << (15 - index))
