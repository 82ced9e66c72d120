"""Property lists of content headers (AMQP 0-9-1, section 4.2.6.1) and their headers, as bytes and as values."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from memq_amqp.wire.table import DEPTH, encode_entries, entries, value
from memq_schemas.headers import SENT
from memq_schemas.properties import NO_HEADERS, ChangedHeaders, Properties

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q").unpack_from

# The header that every message of memq's producers has, up to its value: a 64-bit integer.
STAMP = bytes((len(SENT),)) + SENT.encode() + b"l"
_STAMPED = len(STAMP) + 8

# Bytes that are not UTF-8 go through unchanged: a correlation id is the sender's, and has to come back as written.
_ERRORS = "surrogateescape"

_TEXT, _TABLE, _OCTET, _STAMP = range(4)

# In the order of the standard, which is that of Properties: the first has the highest bit of the flags.
_KINDS = (_TEXT, _TEXT, _TABLE, _OCTET, _OCTET, _TEXT, _TEXT, _TEXT, _TEXT, _STAMP, _TEXT, _TEXT, _TEXT, _TEXT)
_HEADERS, _MESSAGE_ID, _TIMESTAMP = 2, 8, 9


class Table(Mapping[str, Any]):
    """Headers as received. They are decoded when first looked at, and written again byte for byte.

    An entry of an unknown type ends what can be decoded: its length is unknown. `opaque` has it and all behind it.
    """

    __slots__ = ("_entries", "_stamp_alone", "_values", "opaque", "raw")

    def __init__(self, raw: bytes) -> None:
        """raw: the entries, without the table's length in front."""
        self.raw = raw
        self.opaque = b""
        # The only header of most messages. To decode it as a table costs several times as much.
        self._stamp_alone = len(raw) == _STAMPED and raw.startswith(STAMP)
        self._entries: list[tuple[str, int, int, int]] | None = None
        self._values: dict[str, Any] | None = None

    def entries(self) -> list[tuple[str, int, int, int]]:
        """Name, start, start of the value and end of each entry in `raw`."""
        if self._entries is None:
            self._entries, end = entries(self.raw)
            self.opaque = self.raw[end:]
        return self._entries

    def without(self, changed: ChangedHeaders) -> bytes:
        """The entries that `changed` keeps, as received."""
        raw = self.raw
        parts = [raw[start:stop] for name, start, _, stop in self.entries() if changed.keeps(name)]
        return b"".join((*parts, self.opaque))

    def _decoded(self) -> dict[str, Any]:
        if self._values is None:
            raw = self.raw
            self._values = {name: value(raw, at, stop, DEPTH) for name, _, at, stop in self.entries()}
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._decoded()[name]

    def get(self, name: str, default: Any = None) -> Any:
        if self._stamp_alone:
            return _I64(self.raw, len(STAMP))[0] if name == SENT else default
        return self._decoded().get(name, default)

    def __contains__(self, name: object) -> bool:
        return name == SENT if self._stamp_alone else name in self._decoded()

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return 1 if self._stamp_alone else len(self._decoded())

    def __bool__(self) -> bool:
        return bool(self.raw)

    def __repr__(self) -> str:
        return repr(self._decoded())


def _raw(headers: Mapping[str, Any]) -> bytes:
    if type(headers) is Table:
        return headers.raw
    if type(headers) is ChangedHeaders:
        given = headers.given
        if type(given) is not Table:
            return _raw(dict(headers))
        # Ours in front: behind an entry of an unknown type nobody could read them.
        return _raw(headers.added) + given.without(headers)
    return encode_entries(headers)


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
            raw = _raw(value)
            parts.append(_U32.pack(len(raw)) + raw)
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
