"""A data directory that is removed while a worker runs: an outage that says so, and no empty store after it."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from memq import Producer, ReplyTimeout
from memq_schemas import Names
from tests.support.broker import depth
from tests.support.scrape import says
from tests.support.until import until
from tests.support.worker import WorkerProcess, free_port, running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("everything", [True, False], ids=["the directory", "its collections"])
async def test_a_removed_data_directory_is_an_outage_and_is_not_silently_made_again(
    everything: bool, amqp: Address, tmp_path: Path
) -> None:
    data, port = tmp_path / "data", free_port()
    given = {"data_dir": data, "store_timeout_seconds": 3, "drain_seconds": 5}
    with running_worker(amqp, metrics_port=port, **given) as worker:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            await producer.collections.create("docs", 2)
            await producer.upsert("docs", [(1, [1.0, 1.0])], wait=True)
            await says(200, port, "/readyz")
            shutil.rmtree(data if everything else data / "shards")
            async with Producer(amqp.url, prefix=amqp.prefix, timeout=6) as hasty:
                with pytest.raises(ReplyTimeout):
                    await hasty.upsert("docs", [(2, [1.0, 1.0])], wait=True)
            await until(lambda: worker.logged("store unavailable, writes held"))
            body = await says(503, port, "/readyz")
            assert "data directory" in str(body)
        worker.terminate()
        await asyncio.to_thread(worker.ended)
    names = Names(amqp.prefix)
    assert (await depth(amqp, names.write), await depth(amqp, names.dead)) == (1, 0), "it waits for the store"
    again = WorkerProcess(worker.settings)
    try:
        assert await asyncio.to_thread(again.ended) == 2, again.text
        assert "Traceback" not in again.text
    finally:
        again.kill()
    assert (await depth(amqp, names.write), await depth(amqp, names.dead)) == (1, 0)
