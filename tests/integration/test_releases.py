"""A former release beside this one: its workers and producers share the queues, and both declare them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memq import Producer
from tests.support.git import git
from tests.support.until import until
from tests.support.worker import WorkerProcess

if TYPE_CHECKING:
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "c88cc5f"
SEND = """
import asyncio, sys
from memq import Producer
async def main(url, prefix, first, last):
    async with Producer(url, prefix=prefix) as producer:
        for n in range(int(first), int(last)):
            await producer.upsert("shared", [{"id": n, "vector": [1.0, float(n)]}], wait=True)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of the former release, out of a wheel that is built from the history."""
    archived = git("archive", COMMIT)
    if archived.returncode:
        pytest.skip(f"the history has no {COMMIT}: a shallow clone")
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=BytesIO(archived.stdout)) as archive:
        archive.extractall(folder / "source", filter="data")
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(line, cwd=folder / "source", capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "packages")
    return folder / "packages"


def worker(address: Address, engine: EmbeddedEngine, former: Path | None = None) -> WorkerProcess:
    """Start a worker of this release, or of the former one, that declares the topology."""
    settings = {
        "amqp_url": address.url,
        "prefix": address.prefix,
        "metrics_port": 0,
        "declare": "always",
        "qdrant_url": f"http://{engine.address}",
        "worker_name": "this" if former is None else "former",
    }
    if former is None:
        return WorkerProcess(settings)
    return WorkerProcess(settings, program=[sys.executable, "-m", "memq_worker", "run"], PYTHONPATH=str(former))


async def send(address: Address, former: Path, first: int, last: int) -> None:
    """Upsert points by a producer of the former release."""
    line = [sys.executable, "-c", SEND, address.url, address.prefix, str(first), str(last)]
    environ = {**os.environ, "PYTHONPATH": str(former)}
    ended = await asyncio.to_thread(
        subprocess.run, line, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr


async def test_workers_and_producers_of_two_releases_share_the_queues(
    amqp: Address, engine: EmbeddedEngine, former: Path
) -> None:
    workers: list[WorkerProcess] = []

    async def started(release: Path | None) -> WorkerProcess:
        workers.append(worker(amqp, engine, release))
        return await asyncio.to_thread(workers[-1].ready)

    try:
        old = await started(former)
        new = await started(None)
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            await producer.collections.create("shared", 2)
            await send(amqp, former, 0, 20)
            for n in range(20, 40):
                await producer.upsert("shared", [{"id": n, "vector": [1.0, float(n)]}], wait=True)
            assert (await producer.count("shared")).count == 40

            async def both() -> bool:
                await producer.upsert("shared", [{"id": 0, "vector": [1.0, 1.0]}], wait=True)
                return bool(old.logged("batch written") and new.logged("batch written"))

            await until(both)
            # Back to the former release, on the queues that this one has declared.
            assert await asyncio.to_thread(old.terminate) == 0
            assert await asyncio.to_thread(new.terminate) == 0
            await started(former)
            await send(amqp, former, 40, 60)
            assert (await producer.count("shared")).count == 60
    finally:
        for each in workers:
            if each.process.poll() is None:
                each.kill()
