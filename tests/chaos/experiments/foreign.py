"""Messages with properties that no client of ours would write: applied, refused, answered, and kept as they are."""

from __future__ import annotations

import asyncio
import secrets
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import memq_amqp
import orjson
from memq_amqp.wire.properties import Table

from memq_schemas import Names, headers
from memq_schemas.properties import NO_HEADERS, Properties
from tests.chaos.checker import Rules
from tests.chaos.evidence import envelope_digest
from tests.chaos.ledger import COLLECTION, Reply
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.strange import STRANGE, carried
from tests.support.tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

    from memq_amqp import Publisher

    from tests.chaos.figures import Figures
    from tests.chaos.ledger import Message

_OPENINGS = 40
# Types of a header's value by their size; the two behind them have their size in front. RabbitMQ writes t and L, which
# are missing, in another form when it adds a header of its own.
_FIXED = {1: b"bB", 2: b"su", 4: b"Iif", 5: b"D", 8: b"ldT", 0: b"V"}
_SIZES = {kind: size for size, kinds in _FIXED.items() for kind in kinds}
_KINDS = bytes(_SIZES) + b"Sx"


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages writes and receipts with strange properties, beside good ones; a worker on each transport."""
    async with scene(ground, "foreign properties", plan) as playing:
        with tcp_proxy(playing.address.url) as proxy:
            playing.watch(proxy)
            playing.amqp_url = proxy.url(playing.address.url)
            await playing.crew(2, settings={1: {"MEMQ_TRANSPORT": "stock"}})
            async with playing.sdk() as source, _foreigner(playing) as foreigner:
                sent = 0
                while sent < plan.messages:
                    chosen = [*STRANGE.items(), *(("drawn", drawn(playing.chance)) for _ in STRANGE)]
                    playing.chance.shuffle(chosen)
                    for kind, properties in chosen:
                        await foreigner.send(properties)
                        playing.faults["drawn by chance" if kind == "drawn" else "known to be strange"] += 1
                    await source.send(playing.making.messages(10))
                    sent += len(chosen)
                await foreigner.all_answered(plan.drain_seconds)
            return await playing.finish(Rules(answers=True, connected=True, openings=_OPENINGS))


class Foreigner:
    """Publishes with confirms, and reads replies, whatever their properties are."""

    def __init__(self, playing: Scene, publisher: Publisher, replies: str) -> None:
        self._playing = playing
        self._publisher = publisher
        self._replies = replies
        self._open: set[str] = set()
        self._changed = asyncio.Event()

    async def send(self, properties: Properties) -> None:
        """One good write and one that is refused, with these properties; every other one asks for a receipt."""
        making, chance = self._playing.making, self._playing.chance
        unreadable = properties.content_type not in (None, headers.JSON) or properties.content_encoding is not None
        for expected in ("applied", "refused"):
            given = properties
            if chance.random() < 0.5:
                token = secrets.token_hex(8)
                given = properties._replace(reply_to=self._replies, correlation_id=f"{token}\udcff\udc80")
            digest = envelope_digest(given)
            message = making.message(1, expected="refused" if unreadable else expected, envelope=digest)
            await self._publish(message, expected, given)

    async def _publish(self, message: Message, expected: str, properties: Properties) -> None:
        ledger, body = self._playing.ledger, message.body
        if expected == "refused":
            body["points"][0]["vector"] = [1.0]
        elif message.expected == "refused":
            body["points"][0]["vector"] = message.vector(message.keys[0])  # well formed, in an unknown encoding
        ledger.attempted([message])
        if properties.reply_to:
            name = _name(properties)
            self._open.add(name)
            ledger.asked(name, {"operation": "upsert", "points": 1, "expected": message.expected})
        exchange = Names(self._playing.address.prefix).commands
        await self._publisher.publish(exchange, f"upsert.{COLLECTION}", orjson.dumps(body), properties)
        ledger.confirmed([message])

    def replied(self, _tag: int, _again: bool, _exchange: str, _key: str, properties: Properties, body: bytes) -> None:
        said = orjson.loads(body)
        name = _name(properties)
        code = said.get("error", {}).get("code")
        self._playing.ledger.replied(Reply(name, said["status"], code, said.get("result")))
        self._open.discard(name)
        self._changed.set()

    async def all_answered(self, within: float) -> None:
        """Return at the end of `within` in any case: the checker tells what is missing."""
        try:
            async with asyncio.timeout(within):
                while self._open:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return


def _name(properties: Properties) -> str:
    """A correlation id of any bytes, as a text for the ledger."""
    return (properties.correlation_id or "").encode("utf-8", "surrogateescape").hex()


@asynccontextmanager
async def _foreigner(playing: Scene) -> AsyncIterator[Foreigner]:
    connection = await memq_amqp.connect(playing.address.url)
    try:
        frames = memq_amqp.frames_of(connection)
        publishing: Any = await (await connection.channel(on_return_raises=True)).get_underlay_channel()
        listening: Any = await (await connection.channel()).get_underlay_channel()
        replies = (await listening.queue_declare(f"{playing.address.prefix}.reply.foreign", exclusive=True)).queue
        foreigner = Foreigner(playing, memq_amqp.publisher(publishing, frames), replies)
        await memq_amqp.Consumer(listening, frames, foreigner.replied).start(replies, "foreign", no_ack=True)
        yield foreigner
    finally:
        await connection.close()


def drawn(chance: Random) -> Properties:
    """Bytes by chance in every property that the broker takes no notice of."""

    def short() -> str | None:
        size = chance.choice((0, 1, 20, 255))
        return chance.randbytes(size).decode("utf-8", "surrogateescape") if chance.random() < 0.5 else None

    properties = Properties(
        content_type=None if chance.random() < 0.8 else short(),
        headers=_headers(chance),
        delivery_mode=chance.choice((None, 1, 2)),
        priority=chance.choice((None, 0, 4, 255)),
        correlation_id=short(),
        timestamp=chance.choice((None, 0, 2**32, 2**53, 2**63, 2**64 - 1)),
        type=short(),
        app_id=short(),
        cluster_id=short(),
    )
    # No bytes is no property, as a broker understands it.
    return properties._replace(content_type=properties.content_type or None)


def _headers(chance: Random) -> Any:
    entries = {chance.randbytes(chance.randint(1, 12)): _value(chance) for _ in range(chance.choice((0, 1, 3, 200)))}
    raw = b"".join(bytes((len(name),)) + name + value for name, value in entries.items())
    headers = Table(raw)
    return headers if raw and carried(headers) else NO_HEADERS


def _value(chance: Random) -> bytes:
    kind = chance.choice(_KINDS)
    if (size := _SIZES.get(kind)) is not None:
        return bytes((kind,)) + chance.randbytes(size)
    data = chance.randbytes(chance.choice((0, 3, 400)))
    return bytes((kind,)) + struct.pack(">I", len(data)) + data
