"""The network between workers, producers and broker: cut, reset, half-open, slow, or dead in one of two connections."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.chaos.checker import Rules
from tests.chaos.evidence import count, depths
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.tcp_proxy import TcpProxy, Way, tcp_proxy
from tests.support.until import until

if TYPE_CHECKING:
    from tests.chaos.figures import Figures
    from tests.chaos.source import SdkSource, Wire

# Method frames of AMQP 0-9-1, class basic: from worker to broker an acknowledgement, from broker to producer a confirm.
ACK = b"\x00\x3c\x00\x50"
PUBLISH = b"\x00\x3c\x00\x28"


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills rounds through every fault, workers and producer each behind a proxy of their own."""
    async with scene(ground, "network", plan) as playing, faulty_store(playing.engine.url) as store:
        with ExitStack() as stack:
            near = stack.enter_context(tcp_proxy(playing.address.url))
            far = stack.enter_context(tcp_proxy(playing.address.url))
            # A half-open connection is found after three heartbeats.
            playing.amqp_url = f"{near.url(playing.address.url)}?heartbeat=2"
            playing.store_url = store.url
            await _late_answer(playing, near, store)
            await playing.crew()
            async with playing.sdk(far.url(playing.address.url)) as source, playing.wire() as wire:
                for _ in range(plan.kills):
                    await _round(playing, near, far, source, wire)
            return await playing.finish(Rules(redelivery=True))


async def _round(playing: Scene, near: TcpProxy, far: TcpProxy, source: SdkSource, wire: Wire) -> None:
    messages = playing.plan.messages // playing.plan.kills // 8
    sessions = 0

    async def load() -> None:
        await source.send(playing.making.messages(messages))
        for _ in range(3):
            await wire.send_with_receipt(playing.making.message(1, expected="refused"))

    async def during(fault: str, *acts: object) -> None:
        nonlocal sessions
        playing.faults[fault] += 1
        loading = asyncio.create_task(load())
        await asyncio.sleep(playing.chance.uniform(0.05, 0.3))
        for act in acts:
            await asyncio.to_thread(act)  # type: ignore[arg-type]
        await loading
        sessions += 1

    await during("connections cut", near.cut, far.cut)
    await during("connections reset", near.reset, far.reset)
    near.cut_when(Way.UP, lambda chunk: ACK in chunk)
    await during("cut before an acknowledgement arrives")
    far.cut_when(Way.DOWN, lambda chunk: ACK in chunk)
    await during("cut between a confirm and its producer")
    far.cut_when(Way.UP, lambda chunk: PUBLISH in chunk)
    await during("cut inside a publish")
    near.delay(0.1)
    near.throttle(40_000, slice_bytes=7)
    await during("slow, in pieces of 7 bytes", near.reset)
    near.heal()
    # Publishing is dead and consuming is not: what cannot be moved away may not be acknowledged either.
    await source.send(playing.making.messages(10))
    await playing.empty(30)  # so there are workers with connections to lose
    await asyncio.to_thread(near.silence, b" publish")
    await during("half-open where the worker publishes")
    await playing.empty(10)  # taken by a worker, though it cannot move anything on
    await asyncio.sleep(0.5)
    await asyncio.to_thread(near.heal)
    await asyncio.to_thread(near.silence)
    await during("half-open")
    accepted = near.accepted
    await until(lambda: near.accepted > accepted, within=30)
    await asyncio.to_thread(near.heal)


async def _late_answer(playing: Scene, near: TcpProxy, store: FaultyStore) -> None:
    """A write ends after its channel has died and another took over; then the worker dies with the rest unwritten."""
    settings = dict(playing.settings)
    playing.settings |= {"prefetch": 20, "writes_in_flight": 1, "batch_points": 5}
    playing.settings |= {"store_timeout_seconds": 40, "drain_seconds": 50}
    crew = await playing.crew()
    late, never = asyncio.Event(), asyncio.Event()
    async with playing.sdk() as source:
        await source.send(playing.making.messages(5))
        await until(lambda: _stored(playing, 5), within=30, every=0.2)
        store.fail("Upsert", Fault(until=late))
        store.fail_always("Upsert", Fault(until=never))
        calls = store.calls.count("Upsert")
        await source.send(playing.making.messages(40))
        await until(lambda: store.calls.count("Upsert") > calls, within=30)
        await asyncio.to_thread(near.cut)
        await crew.ready(2)
        await until(lambda: _taken(playing, 20), within=30, every=0.1)
        late.set()
        # There is nothing to wait for: a worker that does it right does nothing now.
        await asyncio.sleep(1.0)
        playing.faults["written after the channel had died"] += 1
        crew.kill()
        await crew.stop(1.0)
        playing.crews.remove(crew)
        playing.log.append(crew.text)
    never.set()
    store.fail_always("Upsert", None)
    playing.settings = settings


async def _stored(playing: Scene, points: int) -> bool:
    return await count(playing.engine.url) >= points


async def _taken(playing: Scene, left: int) -> bool:
    ready, _ = await depths(playing.address)
    return ready[f"{playing.address.prefix}.write"] <= left
