"""Memory of a worker whose lanes all hold messages of the maximum size: python -m tests.benchmarks.lane_memory

Each lane has a tenant and as many messages as asked for. The worker starts when all of them wait, empties the lanes
into the embedded engine, and is watched meanwhile. Needs a broker with the management API.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from memq_schemas.tenants import TenantNames
from memq_worker.qdrant.client import open_store
from stack.broker import found
from tests.benchmarks.load import DIMENSIONS, publish
from tests.support.broker import own_address
from tests.support.engine import embedded_engine
from tests.support.processes import peak_rss_mib, rss_mib
from tests.support.tenants import Tenants, tenants_of
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Address

_POINTS = 1000
_COLLECTION = "together"
_SECONDS = 400.0


def body(size: int) -> bytes:
    """Upsert of 1,000 points, filled up to `size` bytes by the texts of their payloads."""
    vectors = np.random.default_rng(1).standard_normal((_POINTS, DIMENSIONS)).round(3).tolist()

    def encoded(text: str) -> bytes:
        rows = [{"id": n, "vector": vector, "payload": {"text": text}} for n, vector in enumerate(vectors)]
        return orjson.dumps({"points": rows})

    return encoded("x" * ((size - len(encoded(""))) // _POINTS))


async def measured(address: Address, tenants: Tenants, store: str, lanes: int, size: int, messages: int) -> str:
    noisy = [f"noisy-{number}" for number in range(lanes)]
    tables = dict.fromkeys(noisy, 'storage = "shared"\nlane = "own"')
    tenants.write(*noisy, extra=f"[shared.{_COLLECTION}]\nsize = {DIMENSIONS}", tables=tables)
    await asyncio.to_thread(tenants.ok, "apply")
    with running_worker(address, **tenants.settings) as worker:
        before = rss_mib(worker.process.pid)
        worker.terminate()
    large = body(size)

    def copies() -> Iterator[bytes]:
        yield from [large] * messages

    for name in noisy:
        await publish(address.url, TenantNames(address.prefix, name).commands, f"upsert.{_COLLECTION}", copies())
    began = time.perf_counter()
    with running_worker(address, **tenants.settings) as worker:
        while await _points(store) < lanes * _POINTS:
            if time.perf_counter() - began > _SECONDS:
                raise TimeoutError("the lanes are not empty")
            await asyncio.sleep(1)
        seconds = time.perf_counter() - began
        peak = peak_rss_mib(worker.process.pid)
        worker.terminate()
    mib = len(large) / 2**20
    cells = (lanes, f"{mib:.1f}", messages, f"{lanes * messages * mib:,.0f}", f"{before:.0f}", f"{peak:,.0f}")
    return f"| {' | '.join(map(str, cells))} | {seconds:.0f} |"


async def _points(store: str) -> int:
    async with open_store(store, None, 30.0) as client:
        if _COLLECTION not in await client.list_collections(30.0):
            return 0  # a worker makes it
        return (await client.describe_collection(_COLLECTION, 30.0))["points"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--mib", type=float, default=8.0, help="size of a message")
    parser.add_argument("--messages", type=int, default=1, help="in each lane")
    options = parser.parse_args()
    sys.stdout.write("| lanes | MiB a message | messages a lane | MiB in all | worker before, MiB | peak, MiB | s |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    with found() as broker:
        for lanes in options.lanes:
            with (
                own_address(broker) as address,
                tempfile.TemporaryDirectory(prefix="memq-bench-") as directory,
                embedded_engine(Path(directory) / "data") as engine,
                tenants_of(address, Path(directory), engine.url) as tenants,
            ):
                size = round(options.mib * 2**20)
                row = asyncio.run(measured(address, tenants, engine.url, lanes, size, options.messages))
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
