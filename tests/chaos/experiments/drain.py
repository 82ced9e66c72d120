"""Workers are stopped in order under load, one after the other, again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, scene
from tests.support.until import until

if TYPE_CHECKING:
    from tests.chaos.crew import Crew
    from tests.chaos.figures import Figures


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills stops, each with a replacement started first: exit code 0, nothing repeated, nothing dead-lettered."""
    async with scene(ground, "drain", plan) as playing:
        playing.settings["batch_points"] = 50
        old = await playing.crew()
        async with playing.sdk() as source, playing.wire() as wire:
            stop = asyncio.Event()

            async def load() -> None:
                while not stop.is_set():
                    await source.send(playing.making.messages(40))
                    for _ in range(4):
                        await wire.send_with_receipt(playing.making.message(1))

            loading = asyncio.create_task(load())
            for _ in range(plan.kills):
                new = await playing.crew()
                await until(lambda worker=old: _has_written(worker), within=30)
                await playing.dismiss(old)
                playing.faults["soft stops under load"] += 1
                old = new
            stop.set()
            await loading
            # Handing back is a redelivery, but what was answered was settled too: nothing is answered twice.
            return await playing.finish(Rules(answers=True))


def _has_written(worker: Crew) -> bool:
    return bool(worker.logged("batch written"))
