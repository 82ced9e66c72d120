"""Replies of a worker: how large they may be, where they go, and how long they wait there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memq import Producer, RemoteError
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


@pytest.fixture
def worker(amqp: Address, engine: EmbeddedEngine) -> Iterator[WorkerProcess]:
    with running_worker(amqp, qdrant_url=engine.url) as worker:
        yield worker


def producer_of(amqp: Address, **more: Any) -> Producer:
    return Producer(amqp.url, prefix=amqp.prefix, timeout=30, **more)


def memory_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def test_a_reply_beyond_the_limit_is_one_error_that_says_what_to_ask_instead(
    amqp: Address, worker: WorkerProcess
) -> None:
    vectors = np.random.default_rng(1).random((1200, 1536), dtype=np.float32)
    ids = list(range(1200))
    async with producer_of(amqp) as producer:
        await producer.collections.create("docs", 1536)
        await producer.upsert("docs", ids=ids, vectors=vectors, wait=True)
        before = memory_bytes(worker.process.pid)
        refused = await asyncio.gather(
            producer.get("docs", ids, with_vector=True),
            producer.query("docs", vectors[0], limit=1200, with_vector=True),
            return_exceptions=True,
        )
        for error in refused:
            assert isinstance(error, RemoteError)
            assert (error.code, error.status, error.retryable) == ("too_large", 413, False)
            assert "8388608 bytes" in str(error)
            assert "with_vector" in str(error)
        assert len(await producer.get("docs", ids)) == 1200
        some = await producer.get("docs", ids[:200], with_vector=True)
        assert [point.id for point in some] == ids[:200]
        assert len(await producer.query("docs", vectors[0], limit=200, with_vector=True)) == 200
    assert memory_bytes(worker.process.pid) - before < 150 * 2**20
    assert worker.terminate() == 0
