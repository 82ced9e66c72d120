"""Workers are stopped in order under load: one after the other, and at random moments of their lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.crew import Crew
    from tests.chaos.figures import Figures

_EARLY = 0.3  # of the stops come before the worker is ready


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


async def run_stops(ground: Ground, plan: Plan) -> Figures:
    """plan.kills stops in three places at a time, from the start of the process on: each ends, with exit code 0."""
    async with scene(ground, "stops", plan) as playing:
        playing.settings["batch_points"] = 50
        await playing.crew()
        left = iter(range(plan.kills))
        async with playing.sdk() as source, playing.wire() as wire:
            stops = asyncio.gather(*(_stop_at_random(playing, left) for _ in range(3)))
            while not stops.done():
                await source.send(playing.making.messages(40))
                for _ in range(4):
                    await wire.send_with_receipt(playing.making.message(1))
            await stops
            return await playing.finish(Rules(answers=True))


async def _stop_at_random(playing: Scene, left: Iterator[int]) -> None:
    for _ in left:
        worker = playing.hire()
        await worker.until("life", within=300)  # a loaded machine starts processes slowly
        if playing.chance.random() < _EARLY:
            await asyncio.sleep(playing.chance.uniform(0, 2))
        else:
            await worker.ready()
            await asyncio.sleep(playing.chance.expovariate(2.0))
        await playing.dismiss(worker)
        playing.faults["stops at random moments"] += 1


def _has_written(worker: Crew) -> bool:
    return bool(worker.logged("batch written"))
