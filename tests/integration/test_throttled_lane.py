"""A lane far beyond its rate, on a broker that closes the channel of whoever holds a message for long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from memq import Producer
from memq_schemas import Names
from stack.node import Node
from tests.support.broker import Address, depth
from tests.support.tenants import tenants_of
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from memq.changes import Row
    from stack.broker import Server
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

LOST = ("connection lost", "channel closed", "consumer cancelled")


async def stored(producer: Producer) -> int:
    return (await producer.count("notes", exact=True)).count


async def throttled(
    server: Server,
    engine: EmbeddedEngine,
    directory: Path,
    prefix: str,
    *,
    rate: float,
    messages: int,
    timeout: float,
    wait: float,
) -> None:
    """Publish so many messages at once into a lane of this rate, and look for so many seconds at what becomes of them.

    prefix: of its own for each test, whose tenants file begins with generation 1.
    timeout: the broker's consumer_timeout in seconds.
    """
    if not isinstance(server, Node) or server.management_url is None:
        pytest.skip("needs a node of its own with the management API")
    values = f"rabbit, consumer_timeout, {timeout * 1000:.0f}", f"rabbit, channel_tick_interval, {timeout * 100:.0f}"
    sets = ", ".join(f"application:set_env({value})" for value in values)
    await asyncio.to_thread(server.control, "eval", f"{sets}.")
    address = Address(server.amqp_url, prefix, server.management_url, "/")
    names = Names(address.prefix)
    lane = f"{address.prefix}.lane.acme"
    # A burst, and what arrives before the consumer is cancelled.
    beyond = max(4.0, rate)
    with tenants_of(address, directory, engine.url) as tenants:
        tenants.write("acme", "beta", tables={"acme": f"limits.points_per_second = {rate}"})
        await asyncio.to_thread(tenants.ok, "apply")
        with running_worker(address, **tenants.settings) as worker:
            async with (
                Producer(tenants.url("acme"), prefix=prefix, tenant="acme") as acme,
                Producer(tenants.url("beta"), prefix=prefix, tenant="beta") as beta,
            ):
                await acme.collections.create("notes", size=1)
                await beta.collections.create("notes", size=1)
                began = time.monotonic()
                rows: list[Row] = [{"id": number, "vector": [1.0]} for number in range(messages)]
                await asyncio.gather(*(acme.upsert("notes", [row]) for row in rows))
                while time.monotonic() - began < wait:
                    # A neighbour writes meanwhile, and what waits is ready: the worker holds no message of the lane.
                    await beta.upsert("notes", [{"id": 1, "vector": [1.0]}], wait=True)
                    written = await stored(acme)
                    assert written <= rate * 1.05 * (time.monotonic() - began) + beyond
                    assert await depth(address, lane) >= messages - written - beyond
                    await asyncio.sleep(timeout / 10)
                assert await stored(acme) >= 2
                assert not [line for line in worker.text.splitlines() if any(word in line for word in LOST)]
                assert await depth(address, names.dead) == 0
                # What had waited is applied once the limit is lifted.
                tenants.write("acme", "beta")
                await asyncio.to_thread(tenants.ok, "apply")

                async def all_there() -> bool:
                    return await stored(acme) == messages

                await until(all_there, within=120)
        assert await depth(address, names.dead) == 0


@pytest.mark.slow
async def test_a_throttled_lane_outlasts_the_consumer_timeout(
    server: Server, engine: EmbeddedEngine, tmp_path: Path
) -> None:
    # A message every four seconds, where no consumer may hold one for two.
    await throttled(server, engine, tmp_path, "seconds", rate=0.25, messages=200, timeout=2, wait=14)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_an_hour_s_worth_waits_in_the_lane(server: Server, engine: EmbeddedEngine, tmp_path: Path) -> None:
    # Published within a minute or so: about a hundred times the rate.
    await throttled(server, engine, tmp_path, "hour", rate=5, messages=18_000, timeout=60, wait=300)
