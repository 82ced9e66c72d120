"""Workers die by SIGKILL: at random moments, and at every point where a message is half done."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.hooks import POINTS
from tests.chaos.scene import Ground, Plan, Scene, scene

if TYPE_CHECKING:
    from tests.chaos.crew import Crew
    from tests.chaos.figures import Figures


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills at random, and as many at the points of tests.chaos.hooks in turn; two workers."""
    async with scene(ground, "kills", plan) as playing:
        # As often as it dies by itself it is killed by us, so half of the deaths are ours.
        crew = await playing.crew(workers=2, points=POINTS, passes=(3, 30), kills=2 * plan.kills)
        async with playing.sdk() as source, playing.wire() as wire:
            killing = asyncio.create_task(_at_random(playing, crew))
            sent = 0
            # A life ends after a number of passes, and passes take messages: on until every death has been died.
            while sent < plan.messages or not killing.done():
                await source.send(playing.making.messages(40, points=2))
                for number in range(10):
                    expected = "refused" if number == 0 else "applied"
                    await wire.send_with_receipt(playing.making.message(1, expected=expected))
                sent += 50
            victims = await killing
        crew.disarm()
        for line in crew.logged("life over", code=-signal.SIGKILL):
            if line["pid"] not in victims:
                (born,) = crew.logged("life", pid=line["pid"])
                playing.faults[f"kills {born['point']}"] += 1
        return await playing.finish(Rules(redelivery=True))


async def _at_random(playing: Scene, crew: Crew) -> set[int]:
    """Ends when as many have died as planned, at our hand or at a point of their own, or when the time is over."""
    victims: set[int] = set()
    end = time.monotonic() + playing.plan.seconds
    while crew.deaths < 2 * playing.plan.kills and time.monotonic() < end:
        await asyncio.sleep(playing.chance.uniform(0.1, 0.6))
        slot = playing.chance.randrange(2)
        pid = crew.pids.get(slot)
        if pid is not None and len(victims) < playing.plan.kills and crew.signal(slot, signal.SIGKILL):
            victims.add(pid)
            playing.faults["kills at random"] += 1
    return victims
