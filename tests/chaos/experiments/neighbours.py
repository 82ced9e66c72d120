"""Collections that fail, one after the other and together, beside good writes to another, on a real Qdrant server."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.ledger import COLLECTION
from tests.chaos.missing import Missing
from tests.chaos.scene import Ground, Plan, scene
from tests.support import poisons
from tests.support.poisons import NAMES, READS, poisoned_server
from tests.support.qdrant import NoQdrantError

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.scene import Scene
    from tests.chaos.source import SdkSource, Wire

# Their dead letters are the end that the wire page promises.
_ENDS = frozenset({"deadline_exceeded", "forbidden", "quota_exceeded", "too_large"})
_EACH = 70  # messages of one poison: more than the rate limit takes at once
_HEAVY = 3
_WITHIN_SECONDS = 30.0


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages good writes without, and as many beside each poison. Nothing holds the good collection."""
    try:
        async with scene(ground, "neighbours", plan) as playing:
            directory = playing.ground.directory / f"qdrant-{playing.making.run}"
            directory.mkdir()
            with poisoned_server(directory, COLLECTION) as store:
                return await _play(playing, store)
    except NoQdrantError as error:
        raise Missing(str(error)) from error


async def _play(playing: Scene, store: poisons.Poisoned) -> Figures:
    await store.create(COLLECTION)
    playing.store_url = playing.scanned_url = store.url
    playing.scanned_key = poisons.KEY
    playing.known.update(NAMES)
    playing.settings |= {"qdrant_api_key": store.token, "filter_timeout_seconds": 0.5, "log_repeats": 0}
    await playing.crew()
    async with playing.sdk() as source, playing.wire() as wire:
        await _good(playing, source, 20)  # connections are made, and the collection is known
        playing.notes["p99 ms alone"] = await _good(playing, source, playing.plan.messages)
        worst = 0.0
        for chosen in (*((name,) for name in NAMES), NAMES):
            p99 = await _beside(playing, source, wire, *chosen)
            worst = max(worst, p99)
            if p99 >= _WITHIN_SECONDS * 1000:
                break  # held: no other poison would show more
        playing.notes["worst p99 ms beside a poison"] = worst
        await store.heal()
    return await playing.finish(Rules(condemned=_ENDS, never_held=True))


async def _beside(playing: Scene, source: SdkSource, wire: Wire, *chosen: str) -> float:
    sending = asyncio.create_task(_poison(playing, wire, *chosen))
    p99 = await _good(playing, source, playing.plan.messages)
    await sending
    return p99


async def _poison(playing: Scene, wire: Wire, *chosen: str) -> None:
    for name in chosen:
        count = _HEAVY if name == poisons.HEAVY else _EACH
        playing.faults[f"messages to collection {name}"] += count
        for number in range(count):
            operation, body = poisons.bodies(name, number)
            if name == READS:
                await wire.ask(f"{operation}.{name}", {}, {"operation": operation}, delivery_mode=1)
            else:
                message = playing.making.message(0, operation="hostile", expected="either")
                await wire.hostile(f"{operation}.{name}", body, message)


async def _good(playing: Scene, source: SdkSource, count: int) -> float:
    """The 99th percentile of the time in milliseconds from publish to the answer that a write is applied."""
    seconds = await source.send_timed(playing.making.messages(count), _WITHIN_SECONDS)
    return round(statistics.quantiles(seconds, n=100, method="inclusive")[98] * 1000, 1)
