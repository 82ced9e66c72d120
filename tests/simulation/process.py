"""A worker process, over the simulated broker and store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from memq_schemas import Names
from memq_worker.options import pipeline_options, turns
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.tenants import Tenants
from memq_worker.service import Service
from memq_worker.settings import Settings
from memq_worker.stop import Stop
from memq_worker.tenancy import Tenancy
from memq_worker.tenants.force import enter
from tests.simulation.client import Connections
from tests.simulation.model import MAX_ATTEMPTS, Message
from tests.simulation.scheduler import PROCESS
from tests.simulation.store import SimulatedStore
from tests.simulation.tenants import LANES, Files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.channel import Channel
    from tests.simulation.world import World

NAMES = Names()
SETTINGS = Settings(
    worker_name="simulated",
    transport="stock",
    declare="never",
    reply_to="any",
    max_attempts=MAX_ATTEMPTS,
    store_timeout_seconds=5.0,
    drain_seconds=10.0,
    amqp_timeout_seconds=8.0,
)


class Watch:
    """Takes whatever the worker reports, and probes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    admitted = True
    outdated = ""
    takes_suspects = True

    async def broker(self, *_: Any) -> None: ...

    async def check(self, *_: Any) -> None: ...

    async def watch(self, *_: Any) -> None: ...


class Process:
    """A worker process: what `memq_worker.service.serve` runs, over the simulated broker and store."""

    def __init__(self, world: World, number: int, slot: int) -> None:
        """slot: where in the deployment it runs; the process that replaces it has the same."""
        self.world = world
        self.number = number
        self.files = None if (given := world.scenario.rollout) is None else Files(given, slot, world.loop)
        self.dead = False
        self.stop = Stop()
        self._places: dict[tuple[int, int], int] = {}
        self._last: dict[tuple[int, int], int] = {}
        context = copy_context()
        context.run(PROCESS.set, number)
        self.main = world.loop.create_task(self._run(), context=context)

    async def _run(self) -> None:
        world = self.world
        watch: Any = Watch()
        limits = ("prefetch", "prefetch_bytes", "batch_points")
        settings = SETTINGS.model_copy(update={name: getattr(world.scenario, name) for name in limits})
        store, options, tenants = (
            SimulatedStore(world, self),
            pipeline_options(settings),
            Tenants(turns=turns(settings)),
        )
        pipeline = Pipeline(store, watch, options, tenants=tenants)
        ours = ("settings", "pipeline", "stop", "tenancy")
        reported = {name: watch for name in signature(Service).parameters if name not in ours}
        tenancy: Any = watch
        if self.files is not None:
            entering = partial(enter, store, tenants, timeout=settings.store_timeout_seconds)
            tenancy = Tenancy(self.files, pipeline, options.names, settings.order, entering)  # pyright: ignore[reportArgumentType]
        made = Service(settings=settings, pipeline=pipeline, stop=self.stop, tenancy=tenancy, **reported)
        made._brokers = Connections(world.broker, self)  # pyright: ignore[reportAttributeAccessIssue]
        service = asyncio.create_task(made.run())
        hard = asyncio.create_task(self.stop.hard.wait())
        try:
            await asyncio.wait({service, hard}, return_when=asyncio.FIRST_COMPLETED)
            if not service.done():
                await asyncio.wait({service}, timeout=2.0)
                service.cancel()
            with suppress(asyncio.CancelledError):
                await service
        finally:
            hard.cancel()
            await pipeline.cancel()

    def check_alive(self) -> None:
        if self.dead:
            raise asyncio.CancelledError

    def took(self, channel: Channel, n: int, tag: int) -> None:
        if channel.queue in LANES:
            self._places[n, id(channel)] = tag
            self._places[n, 0] = tag
            self._places[n, -1] = id(channel)
        else:
            self._places[n, 0] = -1  # its order ended when it left the queue

    def place(self, n: int, channel: Channel) -> int:
        """Where in the order of deliveries of this channel the message came; -1 when it did not."""
        return self._places.get((n, id(channel)), -1)

    def check_order(self, point: int, n: int) -> None:
        place = self._places.get((n, 0), -1)
        if place >= 0 and self._last.get((point, self._places[n, -1]), -1) > place:
            self.world.fail(f"point {point}: {n} is written after one that was delivered later")

    def applied(self, channel: Channel, message: Message, place: int) -> None:
        for point in message.ids if channel.queue in LANES else ():
            key = (point, id(channel))
            self._last[key] = max(self._last.get(key, -1), place)
