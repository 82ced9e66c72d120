"""Poisons of one collection beside good writes to another, on a real Qdrant server."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q

from memq import Producer, RemoteError
from memq_schemas import Names
from tests.integration.test_store_identity import command
from tests.support.broker import Address, depth
from tests.support.qdrant import NoQdrantError, own_qdrant_server
from tests.support.scrape import scraped
from tests.support.until import until
from tests.support.worker import WorkerProcess, free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@contextmanager
def server(data_dir: Path, **settings: str) -> Iterator[str]:
    try:
        with own_qdrant_server(data_dir, None, **settings) as address:
            yield address
    except NoQdrantError as error:
        pytest.skip(str(error))


async def create(address: str, name: str, strict: Any = None, key: str = "") -> None:
    metadata = (("api-key", key),) if key else ()
    vectors = q.VectorsConfig(params=q.VectorParams(size=2, distance=q.Distance.Dot))
    async with grpc.aio.insecure_channel(address) as channel:
        about: Any = q.CollectionsStub(channel)
        request = q.CreateCollection(collection_name=name, vectors_config=vectors, strict_mode_config=strict)
        await about.Create(request, metadata=metadata)


async def good_writes(producer: Producer, worker: WorkerProcess) -> None:
    for number in range(100):
        await producer.upsert("good", [(number, [1.0, 1.0])], wait=True)
    assert not worker.logged("store unavailable, writes held")


async def test_a_rate_limit_of_one_collection_parks_its_messages_alone(amqp: Address, tmp_path: Path) -> None:
    with server(tmp_path) as address:
        await create(address, "good")
        await create(address, "limited", q.StrictModeConfig(enabled=True, write_rate_limit=60))
        with running_worker(amqp, qdrant_url=f"http://{address}", max_attempts=2, log_repeats=0) as worker:
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                for number in range(80):
                    await producer.upsert("limited", [(number, [1.0, 1.0])])
                await good_writes(producer, worker)
                await asyncio.to_thread(worker.until, "delivery not applied", code="overloaded", outcome="retried")

                async def all_written() -> bool:
                    return (await producer.count("limited")).count == 80

                await until(all_written, within=120, every=1.0)
        assert await depth(amqp, Names(amqp.prefix).dead) == 0


async def fill(producer: Producer) -> None:
    for number in range(1000):  # Qdrant does not count the points at each write
        await producer.upsert("full", [(number, [1.0, 1.0])], wait=True)


async def test_a_full_quota_spends_attempts_and_holds_nobody(amqp: Address, tmp_path: Path) -> None:
    with server(tmp_path) as address:
        await create(address, "good")
        await create(address, "full", q.StrictModeConfig(enabled=True, max_points_count=1))
        with running_worker(amqp, qdrant_url=f"http://{address}", max_attempts=1) as worker:
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                with pytest.raises(RemoteError) as caught:
                    await fill(producer)
                assert (caught.value.code, caught.value.status) == ("quota_exceeded", 507)
                await good_writes(producer, worker)


async def test_full_disk_by_strict_mode_holds_its_collection_and_spends_nothing(amqp: Address, tmp_path: Path) -> None:
    with server(tmp_path) as address:
        await create(address, "good")
        strict: Any = q.StrictModeConfig(enabled=True)
        strict.MergeFromString(b"\xb0\x01\x01")  # max_disk_usage_percent = 1, newer than the client
        await create(address, "disk", strict)
        with running_worker(amqp, qdrant_url=f"http://{address}", max_attempts=1, log_repeats=0) as worker:
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                await producer.upsert("good", [(0, [1.0, 1.0])], wait=True)
                await producer.upsert("disk", [(1, [1.0, 1.0])])
                await asyncio.to_thread(worker.until, "collection unavailable, writes held", collection="disk")
                await good_writes(producer, worker)
        assert await depth(amqp, Names(amqp.prefix).dead) == 0


async def test_keys_that_may_not_write_are_named(amqp: Address, tmp_path: Path) -> None:
    with server(tmp_path, api_key="all", read_only_api_key="read") as address:
        url = f"http://{address}"
        assert (await command(amqp, "declare"))[0] == 0
        for existing in (False, True):
            if existing:
                await create(address, "good", key="all")
            assert (await command(amqp, "check", qdrant_url=url, qdrant_api_key="all"))[0] == 0
            code, said = await command(amqp, "check", qdrant_url=url, qdrant_api_key="read")
            assert (code, "may not write" in said) == (1, True)
        for key in ("wrong", ""):
            code, said = await command(amqp, "check", qdrant_url=url, qdrant_api_key=key)
            assert (code, "refused the API key" in said) == (1, True)
        code, said = await command(amqp, "check", qdrant_url=url, qdrant_api_key="ключ")
        assert (code, "MEMQ_QDRANT_API_KEY" in said) == (2, True)


async def test_messages_that_a_rate_limit_never_takes_together_are_written_apart(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    with server(tmp_path) as address:
        for name in ("limited", "alone"):
            await create(address, name, q.StrictModeConfig(enabled=True, write_rate_limit=50))
        settings = {"qdrant_url": f"http://{address}", "max_attempts": 1, "metrics_port": port, "writes_in_flight": 1}
        with running_worker(amqp, **settings) as first:
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                # Qdrant counts the first write to a collection twice.
                await producer.upsert("limited", [(0, [1.0, 1.0])], wait=True)
            first.terminate()
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            # A minute takes 50 points. Some of these are written first, and the others become one batch: one of the two
            # is larger.
            for start in range(0, 105, 5):
                await producer.upsert("limited", [(start + n, [1.0, 1.0]) for n in range(5)])
            with running_worker(amqp, **settings) as worker:

                async def written() -> int:
                    return (await producer.count("limited")).count

                async def some_written() -> bool:
                    return await written() > 5

                await until(some_written, within=30, every=0.5)
                await asyncio.to_thread(worker.until, "delivery not applied", code="overloaded", outcome="retried")

                async def split() -> bool:
                    page = await asyncio.to_thread(scraped, port)
                    return page.total("memq_batches_total", reason="split") >= 1

                await until(split, within=90, every=0.5)
                # 51 points of one message are no batch that could be split: their sender has to.
                with pytest.raises(RemoteError) as caught:
                    await producer.upsert("alone", [(n, [1.0, 1.0]) for n in range(51)], wait=True)
                assert (caught.value.code, caught.value.status) == ("too_large", 413)

                async def all_written() -> bool:
                    return await written() == 105

                await until(all_written, within=240, every=1.0)
        assert await depth(amqp, Names(amqp.prefix).dead) == 1
