"""Collections that others made under strict mode, on a real Qdrant server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import grpc as q

from memq import Producer
from tests.integration.test_real_qdrant import create, server
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration

FEW = 7


@asynccontextmanager
async def strict(amqp: Address, directory: Path, **limits: Any) -> AsyncIterator[Producer]:
    """Serve a collection "strict" with these limits of strict mode."""
    with server(directory) as address:
        await create(address, "strict", q.StrictModeConfig(enabled=True, **limits))
        with running_worker(amqp, qdrant_url=f"http://{address}", max_attempts=1):
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                yield producer


async def put(producer: Producer, count: int) -> None:
    """Upsert `count` points, those with even ids with their id as version."""
    for parity in (0, 1):
        ids = list(range(parity, count, 2))
        versions = None if parity else ids
        await producer.upsert("strict", ids=ids, vectors=[[1.0, 1.0]] * len(ids), versions=versions, wait=True)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 3 * FEW, 50])
async def test_overwrite_reads_pages_as_large_as_the_collection_allows(
    amqp: Address, tmp_path: Path, count: int
) -> None:
    async with strict(amqp, tmp_path, max_query_limit=FEW) as producer:
        await put(producer, count)
        await producer.set_payload("strict", list(range(count)), overwrite={"by": "ids"}, wait=True)
        found = await producer.get("strict", list(range(count)))
        assert [(point.payload, point.version) for point in found.points] == [
            ({"by": "ids"}, None if number % 2 else number) for number in range(count)
        ]
        await producer.set_payload("strict", filter={"must": [{"has_id": [0, count - 1]}]}, overwrite={}, wait=True)
        changed = [point.id for point in (await producer.get("strict", list(range(count)))).points if not point.payload]
        assert changed == sorted({0, count - 1})
