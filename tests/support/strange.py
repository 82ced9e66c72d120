"""Messages that no client of ours would send: every property is bytes of somebody else's choice."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import aiormq
import memq_amqp
from memq_amqp import decode, encode
from memq_amqp.wire.frames import send
from memq_amqp.wire.properties import Table

from memq_schemas import Names
from memq_schemas.headers import BROKER_PREFIXES
from memq_schemas.properties import NO_HEADERS, ChangedHeaders, Properties

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.broker import Address


class Raw:
    """A channel without confirms, on which a publish is bytes that no client library would write."""

    def __init__(self, connection: Any, channel: Any, prefix: str) -> None:
        self._connection = connection
        self._channel = channel
        self._prefix = prefix

    async def publish(self, key: bytes, properties: bytes, body: bytes, exchange: str = "commands") -> None:
        """Return when the broker has taken it: an answer on this channel means that it has read what came before."""
        name = f"{self._prefix}.{exchange}".encode() if exchange else b""
        number = self._channel.number
        method = b"\x00\x3c\x00\x28\x00\x00" + _short(name) + _short(key) + b"\x00"
        header = b"\x00\x3c\x00\x00" + struct.pack(">Q", len(body)) + properties
        frames = b"".join(
            struct.pack(">BHI", kind, number, len(payload)) + payload + b"\xce"
            for kind, payload in ((1, method), (2, header), (3, body))
            if payload
        )
        await send(self._channel, frames)
        await self._channel.basic_qos(prefetch_count=1)

    async def ask(self, key: bytes, reply_to: str) -> None:
        """Publish an empty request whose address may be any bytes, given with surrogate escapes."""
        await self.publish(key, encode(Properties(reply_to=reply_to, correlation_id="forged")), b"{}")


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


@asynccontextmanager
async def raw(address: Address) -> AsyncIterator[Raw]:
    connection = await aiormq.connect(address.url)
    try:
        yield Raw(connection, await connection.channel(publisher_confirms=False), address.prefix)
    finally:
        await connection.close()


def table(**entries: bytes) -> bytes:
    """A table of entries whose types and values are given as bytes."""
    return b"".join(_short(name.encode()) + value for name, value in entries.items())


def text(data: bytes) -> bytes:
    return b"S" + struct.pack(">I", len(data)) + data


# What an AMQP 1.0 sender, a broken client or an attacker leaves in the properties of a message.
STRANGE: dict[str, Properties] = {
    "header is not UTF-8": Properties(headers=Table(table(k=text(b"\xff\xfe")))),
    "name is not UTF-8": Properties(headers=Table(_short(b"\xff\xfe") + text(b"v"))),
    "correlation id": Properties(correlation_id=b"\xff\xfe\x00c".decode("utf-8", "surrogateescape")),
    "content encoding": Properties(content_encoding=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "content type": Properties(content_type=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "app id": Properties(app_id=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "type and cluster": Properties(type=b"\xfft".decode("utf-8", "surrogateescape"), cluster_id="\udcff"),
    "message id": Properties(message_id=b"\xff\xfe".decode("utf-8", "surrogateescape")),
    "timestamp in microseconds": Properties(timestamp=1_700_000_000_000_000),
    "largest timestamp": Properties(timestamp=2**64 - 1),
    "header's date": Properties(headers=Table(table(when=b"T" + b"\xff" * 8))),
    "bytes, floats, decimals": Properties(
        headers=Table(table(b=b"x\x00\x00\x00\x02\xff\x00", f=b"f\x00\xc0\x00\x00", d=b"D\xff\xff\xff\xff\xff", v=b"V"))
    ),
    "small integers": Properties(
        headers=Table(table(b=b"b\xff", s=b"s\x01\x00", i=b"I\x00\x00\x00\x01", n=b"l" + bytes(8)))
    ),
    "table in a table": Properties(headers=Table(table(t=b"F" + struct.pack(">I", 3) + b"\x01aV"))),
    "many headers": Properties(
        headers=Table(b"".join(_short(f"h{n}".encode()) + b"I" + bytes(4) for n in range(9000)))
    ),
    "priority and mode": Properties(priority=255, delivery_mode=1),
}


async def letters(address: Address) -> list[tuple[Properties, bytes]]:
    """Properties and body of each message in the dead-letter queue. They stay there."""
    connection = await memq_amqp.connect(address.url)
    try:
        channel = await (await connection.channel()).get_underlay_channel()
        found: list[tuple[Properties, bytes]] = []
        while (each := await memq_amqp.get(channel, Names(address.prefix).dead, 30)) is not None:
            found.append((each.properties, each.body))
        return found
    finally:
        await connection.close()


OURS = (
    *("x-error-", "x-exception-", "x-first-failed", "x-last-failed", "x-original-", "x-worker", "x-retry", "x-memq-"),
    *("x-message-id", "x-user-id"),
)


def own(properties: Properties) -> tuple[Properties, list[bytes]]:
    """Without what a worker, a replay and the broker add or change; the headers as bytes, which the broker sorts."""
    headers = ChangedHeaders(properties.headers, prefixes=(*OURS, *BROKER_PREFIXES))
    rest = decode(encode(Properties(headers=headers))).headers
    entries = [rest.raw[start:stop] for _, start, _, stop in rest.entries()] if isinstance(rest, Table) else []
    kept = properties._replace(headers=NO_HEADERS, message_id=None, user_id=None, reply_to=None, expiration=None)
    return kept, sorted(entries)


def carried(headers: Table) -> bool:
    """Return True if RabbitMQ can read these headers: it closes the connection over types and values it cannot."""
    for name, start, at, stop in headers.entries():
        # By itself: of two entries with one name the table has the last alone.
        kind, value = headers.raw[at : at + 1], Table(headers.raw[start:stop])[name]
        if (
            kind == b"U"
            or name in ("CC", "BCC")
            or (kind in b"FA" and value)
            or (kind in b"fd" and not isfinite(value))
        ):
            return False
    return not headers.opaque
