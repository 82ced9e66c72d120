"""Rates of a tenant with limits and two workers, beside the limits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from memq import Producer, RemoteError
from memq_schemas.tenants import TenantNames
from memq_worker.qdrant.client import open_store
from tests.benchmarks.load import DIMENSIONS, bodies, publish
from tests.support.engine import embedded_engine
from tests.support.tenants import Tenants, tenants_of
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

Rate = Literal["points_per_second", "bytes_per_second", "requests_per_second"]

# The limits, and points in a message where it is a limit on writes.
RATES: tuple[tuple[Rate, int, int], ...] = (
    ("points_per_second", 200, 1),
    ("points_per_second", 2_000, 100),
    ("bytes_per_second", 2_000_000, 100),
    ("requests_per_second", 20, 0),
    ("requests_per_second", 100, 0),
)
_CALLERS = 16
_BEGUN_SECONDS = 3.0  # workers count each other once a second
_STORE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Limited:
    """limit, per_second: as in the tenants file.   measured: what the tenant got of it per second, over `seconds`."""

    limit: str
    per_second: int
    points_per_message: int
    seconds: float
    measured: float


async def limited(address: Address, directory: Path, seconds: float) -> list[Limited]:
    """Ask for more than each limit allows, for so many seconds, of two workers. Needs the management API."""
    found: list[Limited] = []
    with embedded_engine(directory / "data") as engine, tenants_of(address, directory, engine.url) as tenants:
        for limit, rate, points in RATES:
            tenants.write("acme", tables={"acme": f"limits.{limit} = {rate}"})
            await asyncio.to_thread(tenants.ok, "apply")
            with (
                running_worker(address, **tenants.settings) as one,
                running_worker(address, **tenants.settings) as two,
            ):
                async with Producer(tenants.url("acme"), prefix=address.prefix, tenant="acme") as acme:
                    await asyncio.sleep(_BEGUN_SECONDS)
                    if points:
                        took, done = await _writes(tenants, acme, engine.url, limit, rate, points, seconds)
                    else:
                        took, done = await _requests(acme, seconds)
                one.terminate()
                two.terminate()
            found.append(Limited(limit, rate, points, took, done / took))
    return found


async def _writes(
    tenants: Tenants, acme: Producer, store_url: str, limit: Rate, rate: int, points: int, seconds: float
) -> tuple[float, float]:
    """Write what the limit allows in about this time. Return seconds and the points or bytes of it.

    The first tenth is left out: it is the burst that each worker allows.
    """
    await acme.collections.create("docs", size=DIMENSIONS)
    size = len(next(bodies(1, points, "base64"))) if limit == "bytes_per_second" else points
    total = round(rate * seconds / size)
    load = bodies(total, points, "base64")
    exchange = TenantNames(tenants.amqp.prefix, "acme").commands
    samples: list[tuple[float, int]] = []
    async with open_store(store_url, None, _STORE_SECONDS) as store:
        sending = asyncio.create_task(publish(tenants.amqp.url, exchange, "upsert.docs", load, "base64"))
        while not samples or samples[-1][1] < total * points:
            stored = await store.count("acme.docs", None, _STORE_SECONDS)
            if not samples or stored > samples[-1][1]:  # the moment of a change, not of a look
                samples.append((time.perf_counter(), stored))
            await asyncio.sleep(0.01)
        await sending
        await store.drop_collection("acme.docs", _STORE_SECONDS)
    first = next(at for at, (_, stored) in enumerate(samples) if stored >= total * points / 10)
    (began, before), (ended, after) = samples[first], samples[-1]
    return ended - began, (after - before) / points * size


async def _requests(acme: Producer, seconds: float) -> tuple[float, float]:
    """Ask without a pause but the `retry_after` of refusals. Return seconds and the number of answers."""
    began = time.perf_counter()
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while (left := began + seconds - time.perf_counter()) > 0:
            try:
                await acme.collections.list()
            except RemoteError as error:
                if error.retry_after is None:
                    raise
                await asyncio.sleep(min(error.retry_after, left))
            else:
                answered += 1

    await asyncio.gather(*(ask() for _ in range(_CALLERS)))
    return time.perf_counter() - began, answered
