"""Versions arrive late, twice, shuffled and at once, at several workers, with deletions between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, Scene, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.ledger import Message
    from tests.chaos.source import Wire

WORKERS = 3
VERSIONS = 12


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages different ones, each sent one to five times; the newest version of every point has to be left."""
    async with scene(ground, "disorder", plan) as playing:
        playing.settings |= {"batch_points": 20, "prefetch": 40}
        await playing.crew(WORKERS)
        chance = playing.chance
        versions: list[Message] = []
        for key in range(1, plan.messages // VERSIONS + 1):
            numbers = chance.sample(range(1, 1000), VERSIONS)
            versions += [playing.making.message([key], version=number) for number in numbers]
        copies = [message for message in versions for _ in range(chance.randint(1, 5))]
        chance.shuffle(copies)
        playing.faults["second copies"] = len(copies) - len(versions)
        newest: dict[int, int] = {}
        for message in copies:
            key, version = message.keys[0], message.version or 0
            playing.faults["older after newer"] += version < newest.get(key, 0)
            newest[key] = max(version, newest.get(key, 0))
        async with playing.sdk() as source, playing.wire() as wire:
            half = len(copies) // 2
            await source.send(copies[:half])
            # Deletions older than what a point ends at, anywhere among them: they may not take the newest with them.
            for key in sorted(newest):
                version = chance.randrange(1, newest[key])
                await wire.send([playing.making.message([key], version=version, operation="delete")])
                playing.faults["deletions among newer writes"] += 1
            await source.send(copies[half:])
            await _deleted_for_good(playing, wire, sorted(newest)[::4])
        return await playing.finish(Rules())


async def _deleted_for_good(playing: Scene, wire: Wire, keys: list[int]) -> None:
    """With a version above all, once nothing older is on its way any more."""
    await playing.empty(playing.plan.drain_seconds)
    for crew in list(playing.crews):
        await playing.dismiss(crew)
    await playing.crew(WORKERS)
    await playing.empty(playing.plan.drain_seconds)
    for key in keys:
        await wire.send([playing.making.message([key], version=1000, operation="delete")])
        playing.faults["deletions for good"] += 1
