"""Entries of field tables (AMQP 0-9-1, section 4.2.5.5), as bytes and as values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from pamqp import encode as pamqp_encode

_U32 = struct.Struct(">I")
_ERRORS = "surrogateescape"
DEPTH = 64  # of tables in tables; deeper ones stay bytes

_FIXED = {
    "t": 1,
    "b": 1,
    "B": 1,
    "s": 2,
    "u": 2,
    "U": 2,
    "I": 4,
    "i": 4,
    "l": 8,
    "L": 8,
    "f": 4,
    "d": 8,
    "D": 5,
    "T": 8,
    "V": 0,
}
_NUMBERS = {
    "b": ">b",
    "B": ">B",
    "s": ">h",
    "u": ">H",
    "U": ">h",
    "I": ">i",
    "i": ">I",
    "l": ">q",
    "L": ">q",
    "f": ">f",
    "d": ">d",
}
_SIZED = "SxAF"


def entries(raw: bytes) -> tuple[list[tuple[str, int, int, int]], int]:
    """Name, start, start of the value and end of each entry that can be separated, and the end of them all."""
    found: list[tuple[str, int, int, int]] = []
    at, end = 0, len(raw)
    while at < end:
        value = at + 1 + raw[at]
        stop = _end(raw, value)
        if stop < 0:
            break
        found.append((raw[at + 1 : value].decode("utf-8", _ERRORS), at, value, stop))
        at = stop
    return found, at


def _end(raw: bytes, at: int) -> int:
    """Where the value at `at` ends, its type being its first byte; -1 when that is unknown, or beyond the end."""
    if at >= len(raw):
        return -1
    kind = chr(raw[at])
    size = _FIXED.get(kind, -1)
    if size < 0:
        if kind not in _SIZED or at + 5 > len(raw):
            return -1
        size = 4 + _U32.unpack_from(raw, at + 1)[0]
    stop = at + 1 + size
    return stop if stop <= len(raw) else -1


def value(raw: bytes, at: int, stop: int, depth: int) -> Any:
    """The value at `at`; its bytes where Python, or this module, has no such value."""
    kind, start = chr(raw[at]), at + 1
    if (layout := _NUMBERS.get(kind)) is not None:
        return struct.unpack_from(layout, raw, start)[0]
    if (read := _READ.get(kind)) is not None:
        return read(raw[start:stop])
    return _nested(kind, raw[start + 4 : stop], depth - 1)


def _nested(kind: str, raw: bytes, depth: int) -> Any:
    if not depth:
        return raw
    if kind == "F":
        found, end = entries(raw)
        return raw if end < len(raw) else {name: value(raw, at, stop, depth) for name, _, at, stop in found}
    found: list[Any] = []
    at = 0
    while at < len(raw):
        stop = _end(raw, at)
        if stop < 0:
            return raw
        found.append(value(raw, at, stop, depth))
        at = stop
    return found


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def moment(seconds: int) -> datetime | int:
    """A timestamp as a date; the number where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return seconds


def _decimal(data: bytes) -> Decimal:
    return Decimal(int.from_bytes(data[1:], "big", signed=True)).scaleb(-data[0])


_READ: dict[str, Callable[[bytes], Any]] = {
    "S": lambda data: _text(data[4:]),
    "x": lambda data: data[4:],
    "t": lambda data: data != b"\x00",
    "V": lambda _: None,
    "T": lambda data: moment(int.from_bytes(data, "big")),
    "D": _decimal,
}


def encode_entries(headers: Mapping[str, Any]) -> bytes:
    """The entries, without the table's length in front. Raises ValueError for a value that AMQP cannot hold."""
    return b"".join(_short(name) + _encoded(name, value) for name, value in headers.items())


def _short(name: str) -> bytes:
    data = name.encode("utf-8", _ERRORS)
    if len(data) > 255:
        raise ValueError(f"headers: a name has {len(data)} bytes, at most 255 are allowed in AMQP")
    return bytes((len(data),)) + data


def _encoded(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return _sized(b"S", value.encode("utf-8", _ERRORS))
    if isinstance(value, (bytes, bytearray)):
        return _sized(b"x", bytes(value))
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, Mapping):
        return _sized(b"F", encode_entries(cast("Mapping[str, Any]", value)))
    if isinstance(value, list):
        return _sized(b"A", b"".join(_encoded(name, each) for each in cast("list[Any]", value)))
    try:
        return pamqp_encode.encode_table_value(value)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise ValueError(f"headers: {name}: {error}") from error


def _sized(kind: bytes, data: bytes) -> bytes:
    return kind + _U32.pack(len(data)) + data
