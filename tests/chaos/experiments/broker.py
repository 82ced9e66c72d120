"""The broker dies by SIGKILL and comes back with what it had on the disk."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.source import SdkSource

# RabbitMQ 3.10 killed sooner comes back without a queue that it has just declared.
SETTLED_SECONDS = 4.5


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills kills at random moments, with producers and workers at work; what got no confirm is sent again."""
    server = ground.server
    assert server is not None
    async with scene(ground, "broker killed", plan) as playing:
        crew = await playing.crew(2)
        await asyncio.sleep(SETTLED_SECONDS)
        async with playing.sdk() as source:
            stop = asyncio.Event()

            async def load(source: SdkSource) -> None:
                each = max(10, plan.messages // (2 * plan.kills))
                while not stop.is_set():
                    await source.send(playing.making.messages(each), within=180, pause=0.05)

            loading = asyncio.create_task(load(source))
            for number in range(plan.kills):
                await asyncio.sleep(playing.chance.uniform(0.5, 2.0))
                await asyncio.to_thread(server.kill)
                playing.faults["broker kills"] += 1
                await asyncio.sleep(playing.chance.uniform(0.0, 1.0))
                down = time.monotonic()
                await asyncio.to_thread(server.start)
                playing.notes["longest boot, s"] = max(
                    playing.notes.get("longest boot, s", 0), round(time.monotonic() - down, 1)
                )
                await crew.ready(2 * (number + 2))
            stop.set()
            await loading
            playing.notes["publishes without a confirm"] = source.unconfirmed
            playing.notes["longest time between confirms, s"] = round(source.longest_gap, 1)
        return await playing.finish(Rules(redelivery=True))
