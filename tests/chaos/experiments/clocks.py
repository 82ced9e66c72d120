"""Workers whose clocks are hours off and jump while they work: versions decide, not times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.missing import Missing
from tests.chaos.scene import Ground, Plan, scene

if TYPE_CHECKING:
    from tests.chaos.figures import Figures

# Debian keeps it in a folder named after the machine's architecture.
PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")
OFFSETS = ("+2h", "-2h")


async def run(ground: Ground, plan: Plan) -> Figures:
    """One worker two hours ahead and one two hours behind; plan.kills times they change places."""
    library = find()
    async with scene(ground, "clock skew", plan) as playing:
        files: list[Path] = []
        for number, offset in enumerate(OFFSETS):
            clock = ground.directory / f"clock-{playing.making.run}-{number}"
            clock.write_text(f"{offset}\n")
            files.append(clock)
            # The time of day alone: a machine's monotonic clock does not jump when somebody sets its date.
            wrapper = ("env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1")
            crew = playing.hire(1, wrapper=(*wrapper, "FAKETIME_DONT_FAKE_MONOTONIC=1"))
            await crew.ready()
        async with playing.sdk() as source, playing.wire() as wire:
            rounds = plan.kills + 1
            for turn in range(rounds):
                keys = [playing.making.message(1, version=1).keys[0] for _ in range(plan.messages // rounds // 4)]
                for version in (3, 2, 9, 7):
                    await source.send([playing.making.message([key], version=version) for key in keys])
                for expected in ("applied", "refused"):
                    await wire.send_with_receipt(playing.making.message(1, expected=expected))
                if turn < plan.kills:
                    for clock, offset in zip(files, OFFSETS[:: 1 if turn % 2 else -1], strict=True):
                        clock.write_text(f"{offset}\n")
                        playing.faults["clocks set by four hours"] += 1
                    await asyncio.sleep(0.5)
            return await playing.finish(Rules(answers=True))


def find() -> Path:
    for place in PLACES:
        for found in sorted(Path("/").glob(place[1:])):
            return found
    raise Missing("libfaketime is not installed (Debian: apt-get install libfaketime)")
