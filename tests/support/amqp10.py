"""One message through AMQP 1.0, which no Python client without a compiler speaks: the frames that this takes."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

SASL, AMQP = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, CLOSE = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x18
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
SOURCE, TARGET = 0x28, 0x29
HEADER, PROPERTIES, DATA = 0x70, 0x73, 0x75
ACCEPTED = b"\x00\x53\x24"
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Symbol:
    text: str


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An integer of 8, 32 or 64 bits."""

    value: int
    bits: int = 32


@dataclass(frozen=True, slots=True)
class Described:
    """A composite value: its code and its fields, or bytes for a data section."""

    code: int
    fields: Any = ()


def encoded(value: Any) -> bytes:
    match value:
        case None:
            return b"\x40"
        case bool():
            return b"\x41" if value else b"\x42"
        case Unsigned():
            constructor = {8: b"\x50", 32: b"\x70", 64: b"\x80"}[value.bits]
            return constructor + value.value.to_bytes(value.bits // 8, "big")
        case str():
            return _variable(b"\xb1", value.encode())
        case Symbol():
            return _variable(b"\xb3", value.text.encode())
        case bytes():
            return _variable(b"\xb0", value)
        case Described():
            fields = value.fields
            return b"\x00\x53" + bytes([value.code]) + (encoded(fields) if isinstance(fields, bytes) else _list(fields))
        case _:
            raise TypeError(value)


def _variable(constructor: bytes, data: bytes) -> bytes:
    return constructor + len(data).to_bytes(4, "big") + data


def _list(values: Iterable[Any]) -> bytes:
    items = [encoded(value) for value in values]
    body = b"".join(items)
    return b"\xd0" + (len(body) + 4).to_bytes(4, "big") + len(items).to_bytes(4, "big") + body


class Connection:
    def __init__(self, url: str, vhost: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), SECONDS)
        self._file = self._socket.makefile("rb")
        self._greet(SASL)
        self._until(SASL_MECHANISMS)
        login = f"\0{unquote(parts.username or '')}\0{unquote(parts.password or '')}".encode()
        self._send(Described(SASL_INIT, (Symbol("PLAIN"), login)), kind=1)
        assert self._until(SASL_OUTCOME).endswith((b"\x50\x00", b"\x50\x00\x40")), "login refused"
        self._greet(AMQP)
        self._send(Described(OPEN, ("memq-test", f"vhost:{vhost}")))
        self._until(OPEN)
        window = Unsigned(100)
        self._send(Described(BEGIN, (None, Unsigned(0), window, window)))
        self._until(BEGIN)

    def publish(self, address: str, body: bytes, correlation_id: Any, reply_to: str) -> None:
        """Returns when the broker has accepted the message."""
        source, target = Described(SOURCE, ("here",)), Described(TARGET, (address,))
        mixed, first = Unsigned(2, 8), Unsigned(0, 8)
        link = ("sender", Unsigned(0), False, mixed, first, source, target, None, None, Unsigned(0))
        self._send(Described(ATTACH, link))
        self._until(FLOW)
        content = Symbol("application/json")
        sections = (
            Described(HEADER, (True,)),
            Described(PROPERTIES, (None, None, None, None, reply_to, correlation_id, content)),
            Described(DATA, body),
        )
        transfer = Described(TRANSFER, (Unsigned(0), Unsigned(0), b"1", Unsigned(0), False))
        self._send(transfer, b"".join(map(encoded, sections)))
        assert ACCEPTED in self._until(DISPOSITION)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _greet(self, header: bytes) -> None:
        self._socket.sendall(header)
        assert self._file.read(8) == header

    def _send(self, performative: Described, payload: bytes = b"", kind: int = 0) -> None:
        body = encoded(performative) + payload
        self._socket.sendall((len(body) + 8).to_bytes(4, "big") + bytes([2, kind, 0, 0]) + body)

    def _until(self, code: int) -> bytes:
        """Return the next frame of this code."""
        while True:
            size = int.from_bytes(self._file.read(4), "big")
            assert size, "the broker closed the connection"
            frame = self._file.read(size - 4)
            start = frame[0] * 4 - 4
            found = frame[start + 2] if frame[start + 1] == 0x53 else frame[start + 9]
            assert code == CLOSE or found != CLOSE, frame
            if found == code:
                return frame[start:]
