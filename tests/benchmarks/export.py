"""Export of a collection by scroll, as `memq scroll` does it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memq_schemas import CreateCollection
from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION
from tests.benchmarks.load import DIMENSIONS, bodies
from tests.support.engine import embedded_engine
from tests.support.processes import cpu_seconds, peak_rss_mib
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from tests.support.broker import Address

KINDS = ("jsonl", "parquet", "arrow")
_MEMQ = str(Path(sys.executable).with_name("memq"))
_SECONDS = 30.0
# Starts the command and says what it took: the peak of its memory in KiB, and its CPU in seconds.
_WRAPPED = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_maxrss, used.ru_utime + used.ru_stime)"
)


@dataclass(frozen=True, slots=True)
class Exported:
    """CPU in microseconds a point, peaks in MiB. The command's start is part of its time."""

    kind: str
    points: int
    points_per_second: float
    command_cpu: float
    worker_cpu: float
    engine_cpu: float
    command_peak: float
    worker_peak: float


async def exports(address: Address, directory: Path, points: int) -> list[Exported]:
    """`points` with payload and vectors into a file of each kind."""
    results: list[Exported] = []
    with embedded_engine(directory) as engine:
        async with open_store(engine.url, None, _SECONDS) as store:
            await store.create_collection(COLLECTION, CreateCollection(size=DIMENSIONS), _SECONDS)
            for body in bodies(points // 100, 100, "base64"):
                await store.upsert(COLLECTION, decode_points(body, 100))
        with running_worker(address, qdrant_url=engine.url) as worker:
            for kind in KINDS:
                file = directory.with_name(f"points.{kind}")
                command = [_MEMQ, "scroll", "-c", COLLECTION, file, "--url", address.url, "--prefix", address.prefix]
                before, began = (cpu_seconds(worker.process.pid), cpu_seconds(engine.pid)), time.perf_counter()
                ran = subprocess.run(  # noqa: ASYNC221  (nothing else runs in this loop)
                    [sys.executable, "-c", _WRAPPED, *map(str, command)], capture_output=True, text=True, check=True
                )
                seconds = time.perf_counter() - began
                peak, spent = map(float, ran.stdout.split())
                results.append(
                    Exported(
                        kind,
                        points,
                        points / seconds,
                        spent / points * 1e6,
                        (cpu_seconds(worker.process.pid) - before[0]) / points * 1e6,
                        (cpu_seconds(engine.pid) - before[1]) / points * 1e6,
                        peak / 1024,
                        peak_rss_mib(worker.process.pid),
                    )
                )
                file.unlink()
            worker.terminate()
    return results
