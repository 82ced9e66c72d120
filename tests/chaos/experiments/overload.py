"""More arrives than the queue may hold, and more waits than a worker could keep in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from stack.amqp import management
from tests.chaos.checker import Rules
from tests.chaos.evidence import count
from tests.chaos.missing import Missing
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.processes import peak_rss_mib
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.figures import Figures
    from tests.chaos.ledger import Message
    from tests.chaos.source import SdkSource

MEMORY_MIB = 256
_WINDOW = 10


async def run(ground: Ground, plan: Plan) -> Figures:
    """The write queue takes a tenth of what is sent at once; the producer is told about the rest and sends it again."""
    async with scene(ground, "overload", plan) as playing:
        declaring = await playing.crew()
        await playing.dismiss(declaring)
        limit = plan.messages // 10
        await asyncio.to_thread(_limit, playing, limit)
        async with playing.sdk(confirm_seconds=2.0) as source, playing.wire() as wire:
            messages = list(playing.making.messages(plan.messages))
            confirmed = await _until_full(source, messages)
            playing.faults["publishes refused"] = plan.messages - confirmed
            playing.notes["confirmed while nobody consumed"] = confirmed
            assert confirmed < plan.messages, "the queue has no limit"
            await playing.crew()
            await source.send(messages)
            for message in messages[:20]:
                await wire.ask_for(message.keys[0])
            return await playing.finish(Rules(answers=True))


async def _until_full(source: SdkSource, messages: Sequence[Message]) -> int:
    """How many are confirmed, each tried once.

    What arrives before the broker has noticed that the queue is full is still taken, so that is not sent at once.
    """
    confirmed, sent, full = 0, 0, False
    while sent < len(messages):
        window = messages[sent:] if full else messages[sent : sent + _WINDOW]
        taken = await source.try_once(window)
        confirmed, sent, full = confirmed + taken, sent + len(window), taken < len(window)
    return confirmed


def _limit(playing: Scene, messages: int) -> None:
    address = playing.address
    if address.management_url is None:
        raise Missing("RabbitMQ's HTTP API is needed to limit a queue")
    parts = urlsplit(address.url)
    policy = {"pattern": r"\.write$", "apply-to": "queues", "definition": {"max-length": messages}}
    place = f"{address.management_url}/api/policies/{quote(address.vhost, safe='')}/limit"
    management("PUT", place, unquote(parts.username or ""), unquote(parts.password or ""), policy)


async def run_backlog(ground: Ground, plan: Plan) -> Figures:
    """A backlog is drained at several prefetch counts, each within the same memory."""
    async with scene(ground, "backlog", plan) as playing:
        declaring = await playing.crew()
        await playing.dismiss(declaring)
        points = 0
        sweep = (10, 256, 1000)
        for prefetch in sweep:
            async with playing.sdk() as source:
                await source.send(playing.making.messages(plan.messages // len(sweep), points=50))
            points += plan.messages // len(sweep) * 50
            playing.settings["prefetch"] = prefetch
            crew = await playing.crew()
            (pid,) = crew.pids.values()
            await until(lambda wanted=points: _stored(playing, wanted), within=plan.drain_seconds, every=0.5)
            memory = peak_rss_mib(pid)
            playing.notes[f"MiB at prefetch {prefetch}"] = round(memory)
            playing.faults[f"points waiting before prefetch {prefetch}"] = plan.messages // len(sweep) * 50
            assert memory < MEMORY_MIB, f"{memory:.0f} MiB at prefetch {prefetch}, {MEMORY_MIB} are the limit"
            await playing.dismiss(crew)
        return await playing.finish(Rules())


async def _stored(playing: Scene, points: int) -> bool:
    return await count(playing.engine.url) >= points
