"""A tenant's writes beside a noisy one: the tenants file breaks, `apply` is killed, another tenant is removed."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import aio_pika

from memq import MemqError, Producer
from memq_schemas import Names, headers
from memq_schemas.tenants import SHARED, TenantNames, shared_lanes
from tests.chaos.checker import Rules
from tests.chaos.ledger import COLLECTION, DIMENSIONS
from tests.chaos.missing import Missing
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.broker import depth
from tests.support.tenants import Tenants, tenants_of
from tests.support.until import until
from tests.support.worker import COMMAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from tests.chaos.crew import Crew
    from tests.chaos.figures import Figures
    from tests.chaos.source import SdkSource

GOOD, NOISY, LEAVING = "good", "noisy", "leaving"
_LANES = {NOISY: 'lane = "own"', LEAVING: 'lane = "own"'}
_BURST = 50  # messages of the noisy tenant at a time
_RETURNING = 20  # messages of the removed tenant in a retry tier
_TIER_SECONDS = 5


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages of one tenant, and ten beside each broken file.

    plan.kills: broken files, and kills of `memq-worker tenants apply`.
    """
    async with scene(ground, "tenants", plan) as playing:
        if playing.address.management_url is None:
            raise Missing("the management API")
        directory = playing.ground.directory / f"file-{playing.making.run}"
        directory.mkdir()
        with tenants_of(playing.address, directory, playing.engine.url) as tenants:
            return await _play(playing, tenants)


async def _play(playing: Scene, tenants: Tenants) -> Figures:
    tenants.settings["store_timeout_seconds"] = 3  # as the workers', so that a removal waits no longer
    _write(tenants, GOOD, NOISY, LEAVING)
    await asyncio.to_thread(tenants.ok, "apply")
    names = Names(playing.address.prefix)
    playing.settings |= {"tenants_file": tenants.path, "log_repeats": 0}
    playing.collection = f"{GOOD}.{COLLECTION}"
    playing.known |= {playing.collection, f"{NOISY}.{COLLECTION}", names.tenants, names.tenants_query}
    playing.queues = [names.tenants_query, *shared_lanes(names).values()]
    _know(playing, GOOD, NOISY)
    crew = await playing.crew(2)
    async with playing.sdk(tenants.url(GOOD), tenant=GOOD) as source, _collections(playing, tenants):
        for part in (partial(_broken_files, source), _killed_applies, _removal):
            async with _noise(playing, tenants), _load(playing, source):
                await part(playing, tenants, crew)
    return await playing.finish(Rules())


def _write(tenants: Tenants, *chosen: str) -> None:
    tenants.write(*chosen, tables=_LANES)


def _know(playing: Scene, *chosen: str) -> None:
    """Queues and exchanges of tenants that stay are no strangers, and are empty at the end."""
    for tenant in chosen:
        own = TenantNames(playing.address.prefix, tenant)
        lanes = list(own.lanes.values()) if tenant in _LANES else []
        playing.queues += lanes
        playing.known |= {*own.exchanges, *lanes}
    playing.known |= set(playing.queues)


@asynccontextmanager
async def _collections(playing: Scene, tenants: Tenants) -> AsyncIterator[None]:
    for tenant in (GOOD, NOISY, LEAVING):
        async with _producer(playing, tenants, tenant) as producer:
            await producer.collections.create(COLLECTION, size=DIMENSIONS, distance="dot")
    yield


def _producer(playing: Scene, tenants: Tenants, tenant: str) -> Producer:
    return Producer(tenants.url(tenant), prefix=playing.address.prefix, tenant=tenant, timeout=60)


@asynccontextmanager
async def _noise(playing: Scene, tenants: Tenants) -> AsyncIterator[None]:
    """The noisy tenant writes and asks as fast as it can meanwhile."""

    async def make(producer: Producer) -> None:
        number = 0
        while True:
            for _ in range(_BURST):
                await producer.upsert(COLLECTION, [{"id": number % 5000, "vector": [0.5] * DIMENSIONS}])
                number += 1
            asked = [producer.query(COLLECTION, [0.5] * DIMENSIONS) for _ in range(_BURST)]
            await asyncio.gather(*asked, return_exceptions=True)
            playing.faults["messages of the noisy tenant"] += 2 * _BURST

    async with _producer(playing, tenants, NOISY) as producer, _beside(make(producer)):
        yield


@asynccontextmanager
async def _load(playing: Scene, source: SdkSource) -> AsyncIterator[None]:
    """Good messages, from before the faults to after them."""

    async def send() -> None:
        for _ in range(playing.plan.messages // 30):
            await source.send(playing.making.messages(10))
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(send())
    yield
    await sending


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, MemqError):
            await task


async def _broken_files(source: SdkSource, playing: Scene, tenants: Tenants, crew: Crew) -> None:
    """Cut in half, and no TOML at all: each worker says so, and the content before stays in force."""
    whole = tenants.path.read_text()
    lane = shared_lanes(Names(playing.address.prefix))[SHARED]
    for number in range(playing.plan.kills):
        broken = whole[: len(whole) // 2] if number % 2 == 0 else f"{whole}\n[tenants"
        tenants.path.write_text(broken)
        await crew.until("tenants file refused, former one kept", count=2 * (number + 1))
        # The workers take these while the file is broken, however fast it is mended.
        await source.send(playing.making.messages(10))
        await until(lambda: _empty(playing, lane), within=60)
        playing.faults["broken tenants files"] += 1
    _write(tenants, GOOD, NOISY, LEAVING)
    await crew.until("tenants file read", count=2)
    await asyncio.to_thread(tenants.ok, "apply")


async def _killed_applies(playing: Scene, tenants: Tenants, crew: Crew) -> None:
    """Killed at any step, it can be repeated, and nothing of the tenants before is lost."""
    del crew
    new = _new(playing)
    for number in range(playing.plan.kills):
        _write(tenants, GOOD, NOISY, LEAVING, *new[: number + 1])
        await asyncio.to_thread(_killed, tenants, playing.chance.uniform(0, 0.3))
        playing.faults["applies killed"] += 1
    await asyncio.to_thread(tenants.ok, "apply")
    assert (await asyncio.to_thread(tenants.ok, "plan")).splitlines() == ["no changes"]
    _know(playing, *new)


def _new(playing: Scene) -> list[str]:
    return [f"new-{number}" for number in range(playing.plan.kills)]


def _killed(tenants: Tenants, seconds: float) -> None:
    """Kill `apply` so many seconds after its first step."""
    line = [COMMAND, "tenants", "apply"]
    with subprocess.Popen(line, env=tenants.environ, stdout=subprocess.PIPE, text=True) as applying:
        assert applying.stdout is not None
        applying.stdout.readline()
        time.sleep(seconds)
        applying.kill()


async def _removal(playing: Scene, tenants: Tenants, crew: Crew) -> None:
    """Removed while it writes. Nothing of it comes back, not from a retry tier either."""
    del crew

    async def write(producer: Producer) -> None:
        for number in range(100_000):
            await producer.upsert(COLLECTION, [{"id": number, "vector": [0.5] * DIMENSIONS}])

    async with _producer(playing, tenants, LEAVING) as producer, _beside(write(producer)):
        await asyncio.sleep(1)
        _write(tenants, GOOD, NOISY, *_new(playing))
        await asyncio.to_thread(tenants.ok, "remove", LEAVING, "--yes")
        playing.faults["tenants removed"] += 1
    await _retried(playing)
    tier = Names(playing.address.prefix).retry(_TIER_SECONDS, internal=True)
    await until(lambda: _empty(playing, tier), within=3 * _TIER_SECONDS)
    await asyncio.sleep(1)  # until workers have settled what came back


async def _empty(playing: Scene, queue: str) -> bool:
    return await depth(playing.address, queue) == 0


async def _retried(playing: Scene) -> None:
    """Put messages of the tenant into a tier, as a worker does when it retries them."""
    names = Names(playing.address.prefix)
    async with await aio_pika.connect(playing.address.url) as connection:
        channel = await connection.channel()
        tier = await channel.get_exchange(names.retry(_TIER_SECONDS, internal=True), ensure=False)
        marks = {headers.TENANT: LEAVING, headers.LANE: "tenants", headers.RETRY_COUNT: 1}
        body = b'{"points": [{"id": 1, "vector": [0.5, 0.5, 0.5, 0.5]}]}'
        for _ in range(_RETURNING):
            message = aio_pika.Message(body, content_type=headers.JSON, delivery_mode=2, headers=marks)
            await tier.publish(message, f"upsert.{COLLECTION}")
    playing.faults["messages of a removed tenant in a retry tier"] += _RETURNING
