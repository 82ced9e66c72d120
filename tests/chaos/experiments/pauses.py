"""Processes that stop without dying: SIGSTOP to a worker, the store, the broker, and their late return."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, Scene, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills rounds of plan.seconds each; a worker's pause outlasts its heartbeats, so others take what it had."""
    server = ground.server
    assert server is not None
    async with scene(ground, "pauses", plan) as playing:
        playing.amqp_url = f"{playing.address.url}?heartbeat=2"
        crew = await playing.crew(2)
        async with playing.sdk() as source:
            stop = asyncio.Event()

            async def load() -> None:
                while not stop.is_set():
                    keys = [playing.making.message(1, version=1).keys[0] for _ in range(10)]
                    # Newer versions while a stopped worker holds older ones: its late write may not win.
                    for version in range(1, 4):
                        await source.send([playing.making.message([key], version=version) for key in keys])

            loading = asyncio.create_task(load())
            for _ in range(plan.kills):
                await asyncio.sleep(playing.chance.uniform(0.2, 1.0))
                pid = crew.pids[playing.chance.randrange(2)]
                await _paused(playing, "worker", plan.seconds, lambda number, pid=pid: os.kill(pid, number))
                await _paused(playing, "store", plan.seconds / 2, playing.engine.process.send_signal)
                await _paused(playing, "broker", plan.seconds / 2, lambda number: os.killpg(server.pid, number))
            stop.set()
            await loading
            playing.notes["longest time between confirms, s"] = round(source.longest_gap, 1)
        return await playing.finish(Rules(redelivery=True))


async def _paused(playing: Scene, what: str, seconds: float, send: object) -> None:
    assert callable(send)
    send(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        send(signal.SIGCONT)
    playing.faults[f"{what} stopped for {seconds:g} s"] += 1
    await asyncio.sleep(0.5)
