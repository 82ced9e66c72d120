"""Requests that want their replies where nobody is, or nobody may be: each costs itself and no caller beside it."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import aio_pika

from tests.chaos.checker import Rules
from tests.chaos.ledger import COLLECTION
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.strange import raw
from tests.support.tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from tests.chaos.figures import Figures
    from tests.chaos.source import Wire
    from tests.support.strange import Raw

_DIRECT = "amq.rabbitmq.reply-to"
_LONGEST = 255  # bytes of an AMQP short string
_EACH = 6
_TOKENS = 100
# What two workers need to start, the first refusals, which follow each other fast, and what waits when they stop.
_OPENINGS = 150


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages questions and receipts, each to be answered once, among as many with forged addresses."""
    async with scene(ground, "forged replies", plan) as playing:
        with tcp_proxy(playing.address.url) as proxy:
            playing.watch(proxy)
            playing.amqp_url = proxy.url(playing.address.url)
            await playing.crew(2)
            async with playing.wire() as wire, raw(playing.address) as stranger:
                asked = 0
                while asked < plan.messages:
                    forging = asyncio.create_task(_forge(playing, wire, stranger))
                    for _ in range(3):
                        messages = [playing.making.message(2) for _ in range(4)]
                        ids = await asyncio.gather(*(wire.send_with_receipt(message) for message in messages))
                        ids += await asyncio.gather(*(wire.ask_for(message.keys[0]) for message in messages))
                        asked += len(ids)
                    await forging
                return await playing.finish(Rules(answers=True, connected=True, openings=_OPENINGS))


async def _forge(playing: Scene, wire: Wire, stranger: Raw) -> None:
    reply = f"{playing.address.prefix}.reply."
    addresses = {
        "token that was never given": [
            f"{_DIRECT}.g1h2AA5yZXBseUA{secrets.token_hex(8)}.AAAA==" for _ in range(_TOKENS)
        ],
        "token that is no token": [f"{_DIRECT}.", f"{_DIRECT}.\n", f"{_DIRECT}.{'x' * 200}"],
        "token of a channel that was closed": [await _stale_token(playing) for _ in range(2)],
        "address never used": [f"{reply}{secrets.token_hex(8)}" for _ in range(_EACH)],
        "queue named by no broker": [f"amq.gen-{secrets.token_urlsafe(16)}" for _ in range(2)],
        "longest address": [reply + "x" * (_LONGEST - len(reply))],
        "exchange for a queue": ["amq.fanout", f"{playing.address.prefix}.commands"],
    }
    for kind, chosen in addresses.items():
        for number, address in enumerate(chosen):
            if number % 2:
                message = playing.making.message(1)
                await wire.send([message], reply_to=address, correlation_id="forged")
            else:
                question = {"reply_to": address, "correlation_id": "forged", "delivery_mode": 1}
                await wire.publish(f"count.{COLLECTION}", b"{}", None, **question)
            playing.faults[kind] += 1
    # An address that is no text. Its sender has no confirm for it: nothing is promised of this message.
    for address in (f"{reply}\udcff\udcfe", f"{_DIRECT}.\udcff", "\udcff" * _LONGEST):
        await stranger.ask(f"count.{COLLECTION}".encode(), address)
        playing.faults["address that is no text"] += 1


async def _stale_token(playing: Scene) -> str:
    """A direct reply-to address that the broker gave to a caller who has left."""
    async with await aio_pika.connect(playing.address.url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        direct = await channel.get_queue(_DIRECT, ensure=False)
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        await direct.consume(arrived.put, no_ack=True)
        own = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"", reply_to=_DIRECT), own.name)
        await own.consume(arrived.put, no_ack=True)
        return str((await arrived.get()).reply_to)
