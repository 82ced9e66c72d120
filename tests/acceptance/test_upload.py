"""`memq upsert` of files: interrupted by everything that can interrupt it, and in little memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from memq import Producer
from tests.benchmarks.bulk import parquet, sink, upload
from tests.support.broker import own_address
from tests.support.command import SECONDS, Memq
from tests.support.tcp_proxy import Way, tcp_proxy
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.broker import Broker
    from tests.support.broker import Address
    from tests.support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

POINTS = 6000


@pytest.fixture(scope="module")
def address(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Address of a real worker with an embedded store."""
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        yield address


@pytest.fixture
def proxy(address: Address) -> Iterator[TcpProxy]:
    with tcp_proxy(address.url) as proxy:
        yield proxy


@pytest.fixture
def memq(address: Address, proxy: TcpProxy, tmp_path: Path) -> Memq:
    return Memq(replace(address, url=proxy.url(address.url)), tmp_path / "state")


@contextmanager
def stalled(memq: Memq, proxy: TcpProxy, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """An upload of which the broker gets about a third and no more, until its end."""
    proxy.pause_after(Way.UP, 400_000)
    line = memq.line("upsert", *arguments)
    with subprocess.Popen(line, env=memq.environ, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()
    proxy.reset()
    proxy.heal()


def rows(checkpoint: Path) -> int:
    return json.loads(checkpoint.read_bytes())["rows"] if checkpoint.exists() else 0


def test_an_interrupted_upload_goes_on_where_it_was(memq: Memq, proxy: TcpProxy, tmp_path: Path) -> None:
    file, kept = parquet(tmp_path / "points", POINTS, 32), tmp_path / "kept"
    arguments = [file, "-c", "cut", "--checkpoint", kept]
    memq.ok("collections", "create", "cut", "--size", "32")

    with stalled(memq, proxy, *arguments, "--timeout", "3") as child:
        assert child.stderr is not None
        told = child.stderr.read()
        assert child.wait(SECONDS) == 3
    lost = rows(kept)
    assert 0 < lost < POINTS
    assert f"the same command continues after the first {lost:,}" in told

    with stalled(memq, proxy, *arguments) as child:
        while (killed := rows(kept)) == lost:
            assert child.poll() is None
        child.kill()
        assert child.wait(SECONDS) == -9
    assert lost < killed < POINTS

    os.utime(file, ns=(0, 0))
    assert "; --restart sends all of it again" in memq.fails(2, "upsert", *arguments)
    changed = json.loads(kept.read_bytes())["changed"][0]
    os.utime(file, ns=(changed, changed))

    told = memq.json("upsert", *arguments, "--wait")
    assert (told["sent_before"], told["points"]) == (killed, POINTS - killed)
    assert not kept.exists()
    assert memq.json("count", "-c", "cut")["count"] == POINTS


def test_an_interrupted_upload_begins_again_when_its_collection_has_gone(
    memq: Memq, proxy: TcpProxy, tmp_path: Path
) -> None:
    arguments = [parquet(tmp_path / "points", POINTS, 32), "-c", "gone", "--create"]

    with stalled(memq, proxy, *arguments) as child:
        while not (kept := list((tmp_path / "state").rglob("*.json"))) or not rows(kept[0]):
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(SECONDS) == 130
    memq.ok("collections", "delete", "gone")
    told = memq("upsert", *arguments, "--wait")
    assert told.stdout.startswith(f"{POINTS:,} points applied in 60 messages")
    assert "the collection gone was missing, sending all points again" in told.stderr
    assert list((tmp_path / "state").rglob("*.json")) == []


async def test_tables_and_columns_reach_the_store_as_they_are(address: Address) -> None:
    vectors = np.arange(80, dtype=np.float16).reshape(40, 2)
    columns = {"id": pa.array(range(40)), "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 2)}
    async with Producer(address.url, prefix=address.prefix, compression="zstd") as producer:
        await producer.collections.create("shapes", 2, "dot")
        receipt = await producer.upsert("shapes", pa.table({**columns, "text": ["t"] * 40}), wait=True)
        assert (receipt.points, receipt.complete, receipt.applied) == (40, 40, True)
        payloads = [{"n": n} for n in range(40)]
        await producer.upsert("shapes", ids=range(40, 80), vectors=vectors, payloads=payloads, wait=True)
        of_table, of_columns = await producer.get("shapes", [39, 79], with_vector=True)
    assert of_table.vector == of_columns.vector == [78.0, 79.0]
    assert (of_table.payload, of_columns.payload) == ({"text": "t"}, {"n": 39})


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(broker: Broker, tmp_path: Path) -> None:
    def peak(points: int) -> float:
        with own_address(broker) as address:
            asyncio.run(sink(address))
            return upload(address, parquet(tmp_path / "points", points, 256), "--batch-size", "500").peak

    # Both fill the window of what may be unconfirmed. How much of what is read ahead is there at once differs by 30 MB
    # where broker and command wait for a core, so a third of the difference has to be well above it.
    small, large = peak(70_000), peak(250_000)
    megabytes = (250_000 - 70_000) * 256 * 4 / 2**20
    assert large - small < megabytes / 3
