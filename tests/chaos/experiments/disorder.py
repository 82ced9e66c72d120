"""Versions arrive late, twice, shuffled and at once, at several workers, with deletions between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.ledger import Message

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
        async with playing.sdk() as source:
            await source.send(copies)
        return await playing.finish(Rules())
