"""Messages that nobody should send: the corpus, random ones, frames that are no AMQP, and bodies beyond every limit."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aio_pika
from aiormq.exceptions import AMQPError

from tests.chaos.checker import Rules
from tests.chaos.corpus import Hostile, corpus, oversized, raw_frames
from tests.chaos.ledger import COLLECTION
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.processes import peak_rss_mib
from tests.support.until import until

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.source import Wire


async def run(ground: Ground, plan: Plan) -> Figures:
    """Good messages among the bad ones; every bad one has to end as a dead letter with a worker's reason."""
    async with scene(ground, "hostile", plan) as playing:
        crew = await playing.crew()
        async with playing.sdk() as source, playing.wire() as wire:
            bad = corpus(playing.chance, plan.kills)
            for hostile in bad:
                await _send(playing, wire, hostile)
                await source.send(playing.making.messages(max(1, plan.messages // len(bad))))
            await _frames(playing, plan.kills)
            await source.send(playing.making.messages(20))
        figures = await playing.finish(Rules())
        assert not crew.deaths, f"a message has killed a worker:\n{crew.text[-3000:]}"
        return figures


async def _send(playing: Scene, wire: Wire, hostile: Hostile) -> None:
    message = playing.making.message(0, operation="hostile", expected="refused")
    await wire.hostile(hostile.routing_key, hostile.body, message, **hostile.properties)
    playing.faults[hostile.family] += 1


async def _frames(playing: Scene, count: int) -> None:
    """Bytes on the broker's port: its own business to refuse, and ours that nothing of it matters."""
    parts = urlsplit(playing.address.url)
    for frames in raw_frames(playing.chance, count):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
            sock.sendall(frames)
        playing.faults["raw frames"] += 1


async def run_oversized(ground: Ground, plan: Plan) -> Figures:
    """Bodies and headers beyond the limits. Memory may rise by what was handed over, not by its meaning."""
    async with scene(ground, "oversized", plan) as playing:
        playing.settings["prefetch"] = 4
        playing.settings["max_body_bytes"] = 2**20
        crew = await playing.crew()
        async with playing.sdk() as source, playing.wire() as wire:
            await source.send(playing.making.messages(50))
            await until(lambda: crew.logged("batch written"), within=30)
            (pid,) = crew.pids.values()
            before = peak_rss_mib(pid)
            largest = 0
            for hostile in oversized(plan.kills):
                largest = max(largest, len(hostile.body))
                await _send(playing, wire, hostile)
            await _too_large_for_the_broker(playing)
            await source.send(playing.making.messages(plan.messages))
            await playing.empty(60)
            playing.notes["worker MiB before"] = round(before)
            playing.notes["worker MiB at most"] = round(peak_rss_mib(pid))
            playing.notes["largest body MiB"] = round(largest / 2**20)
        return await playing.finish(Rules())


async def _too_large_for_the_broker(playing: Scene) -> None:
    """Headers that do not fit one frame: the broker ends the connection that sends them, and no other."""
    message = aio_pika.Message(b"{}", headers={"x": "h" * 200_000})
    try:
        async with await aio_pika.connect(playing.address.url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(f"{playing.address.prefix}.commands", ensure=False)
            async with asyncio.timeout(5):
                await exchange.publish(message, f"upsert.{COLLECTION}")
    except (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.CancelledError):
        playing.faults["headers of 200 kB"] += 1
