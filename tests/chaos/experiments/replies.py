"""Callers who left, read slowly, or give addresses that are none; everybody else has to get the right answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import orjson

from tests.chaos.checker import Rules
from tests.chaos.ledger import COLLECTION
from tests.chaos.scene import Ground, Plan, Scene, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.source import Wire


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages questions and receipts that have to be answered, and about as many hostile callers."""
    async with scene(ground, "replies", plan) as playing:
        await playing.crew()
        async with playing.wire() as wire:
            asked = 0
            full = await _slow_reader(playing)
            while asked < plan.messages:
                messages = [playing.making.message(2) for _ in range(4)]
                refused = playing.making.message(1, expected="refused")
                ids = await asyncio.gather(*(wire.send_with_receipt(message) for message in (*messages, refused)))
                ids += await asyncio.gather(*(wire.ask_for(message.keys[0]) for message in messages))
                asked += len(ids)
                await _hostile_callers(playing, wire, full)
            return await playing.finish(Rules(answers=True))


async def _slow_reader(playing: Scene) -> str:
    """A reply queue that takes three messages and refuses the rest."""
    name = f"{playing.address.prefix}.reply.full"
    playing.known.add(name)
    async with await aio_pika.connect(playing.address.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    return name


async def _hostile_callers(playing: Scene, wire: Wire, full: str) -> None:
    addresses = {
        "caller has left": f"{playing.address.prefix}.reply.gone",
        "address of no queue": "../../x" * 30,
        "reply queue full": full,
        "memq's own queue": f"{playing.address.prefix}.write",
        "the dead letters": f"{playing.address.prefix}.dead",
    }
    for kind, address in addresses.items():
        key = playing.chance.randint(1, 20)
        body = orjson.dumps({"ids": [key]})
        await wire.publish(f"get.{COLLECTION}", body, None, reply_to=address, correlation_id="hostile", delivery_mode=1)
        playing.faults[kind] += 1
    # As receipts too: a write is applied even when nobody can be told, except where telling would be an attack.
    for kind in ("caller has left", "reply queue full"):
        message = playing.making.message(1)
        playing.ledger.attempted([message])
        body = orjson.dumps(message.body)
        await wire.publish(f"upsert.{COLLECTION}", body, message, reply_to=addresses[kind], correlation_id="hostile")
        playing.faults[kind] += 1
