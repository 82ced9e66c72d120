"""One message kills whichever worker is about to write it, with a full prefetch window of good ones around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from tests.chaos.checker import Rules
from tests.chaos.ledger import COLLECTION, Message
from tests.chaos.scene import Ground, Plan, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures

KILLER = 777_777
PREFETCH = 50


async def run(ground: Ground, plan: Plan) -> Figures:
    """The killer has to end among the dead letters and none of its neighbours may."""
    async with scene(ground, "poison", plan) as playing:
        playing.settings |= {"prefetch": PREFETCH, "batch_points": 25}
        declaring = await playing.crew()
        await playing.dismiss(declaring)
        killers: set[str] = set()
        async with playing.sdk() as source, playing.wire() as wire:
            for _ in range(plan.kills):
                before = playing.chance.randrange(1, PREFETCH)
                await source.send(playing.making.messages(before))
                killer = Message(playing.making.run, "k", len(killers) + 1, (KILLER,), expected="refused")
                body = {"points": [{**killer.point(KILLER)}]}
                await wire.hostile(f"upsert.{COLLECTION}", orjson.dumps(body), killer)
                killers.add(killer.name)
                await source.send(playing.making.messages(max(PREFETCH, plan.messages // plan.kills) - before))
        crew = await playing.crew(killer=KILLER)
        # Only the broker can end it: every worker that touches it is gone.
        await playing.empty(plan.drain_seconds)
        playing.faults["workers killed by a message"] = crew.deaths
        figures = await playing.finish(Rules(redelivery=True, killers=frozenset(killers)))
        assert figures.dead >= len(killers), f"{figures.dead} dead letters, {len(killers)} killers"
        return figures
