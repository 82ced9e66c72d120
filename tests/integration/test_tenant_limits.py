"""Limits of tenants on a real broker: what is beyond a rate waits, in the queue, and is neither lost nor refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from memq import Producer, RemoteError
from tests.support.broker import depth
from tests.support.tenants import Tenants, tenants_of
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memq.changes import Row
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

RATE = 100


@pytest.fixture
def tenants(amqp: Address, engine: EmbeddedEngine, tmp_path: Path) -> Iterator[Tenants]:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with tenants_of(amqp, tmp_path, engine.url) as made:
        yield made


def rows(first: int, number: int) -> list[Row]:
    return [{"id": first + index, "vector": [1.0, float(index)]} for index in range(number)]


async def stored(producer: Producer) -> int:
    return (await producer.count("notes", exact=True)).count


@pytest.mark.parametrize("size", [1, 10])
async def test_two_workers_share_a_rate_and_the_excess_waits_in_the_queue(
    tenants: Tenants, size: int, transport: str
) -> None:
    tenants.write("acme", "beta", tables={"acme": f"limits.points_per_second = {RATE}"})
    tenants.ok("apply")
    settings = {**tenants.settings, "transport": transport}
    with running_worker(tenants.amqp, **settings), running_worker(tenants.amqp, **settings):
        async with (
            Producer(tenants.url("acme"), tenant="acme") as acme,
            Producer(tenants.url("beta"), tenant="beta") as beta,
        ):
            await acme.collections.create("notes", size=2)
            await beta.collections.create("notes", size=2)
            await asyncio.sleep(2)  # until both workers have counted each other
            began = time.monotonic()
            for first in range(0, 6 * RATE, size):
                await acme.upsert("notes", rows(first, size))
            # Another tenant's write does not wait for them.
            await beta.upsert("notes", rows(0, 10), wait=True)
            assert await stored(acme) < 6 * RATE
            written = 0
            while written < 6 * RATE:
                written = await stored(acme)
                # One burst a worker, and what arrives before its consumer is cancelled.
                assert written <= RATE * 1.05 * (time.monotonic() - began) + RATE
                await asyncio.sleep(0.2)
    assert await depth(tenants.amqp, f"{tenants.amqp.prefix}.lane.acme") == 0
    assert await depth(tenants.amqp, f"{tenants.amqp.prefix}.dead") == 0


async def test_requests_beyond_a_limit_are_refused_by_its_name(tenants: Tenants) -> None:
    limits = (
        "limits.requests_per_second = 2\nlimits.stored_points = 5\nlimits.collections = 1\nlimits.message_bytes = 2000"
    )
    tenants.write("acme", tables={"acme": limits})
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings):
        async with Producer(tenants.url("acme"), tenant="acme") as acme:
            await acme.collections.create("notes", size=2)
            with pytest.raises(RemoteError, match="requests_per_second") as refused:
                await asyncio.gather(*(acme.count("notes") for _ in range(20)))
            assert refused.value.code == "overloaded"
            assert refused.value.retry_after is not None
            await asyncio.sleep(refused.value.retry_after + 0.5)
            with pytest.raises(RemoteError, match="collections: ") as refused:
                await acme.collections.create("others", size=2)
            assert refused.value.code == "quota_exceeded"
            await acme.upsert("notes", rows(0, 5), wait=True)
            await acme.upsert("notes", rows(0, 5), wait=True)
            with pytest.raises(RemoteError, match="stored_points") as refused:
                await acme.upsert("notes", rows(5, 1), wait=True)
            assert refused.value.code == "quota_exceeded"
            with pytest.raises(RemoteError, match="message_bytes") as refused:
                await acme.upsert("notes", rows(0, 200), wait=True)
            assert refused.value.code == "too_large"
