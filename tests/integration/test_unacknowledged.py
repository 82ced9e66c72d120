"""The gauge of unacknowledged messages equals RabbitMQ's own number: in a hold, in a drain, and in a burst."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import grpc
import numpy as np
import pytest

from memq import Producer
from memq_schemas import Names
from stack.amqp import management
from tests.support.faults import Fault, faulty_store
from tests.support.scrape import scraped
from tests.support.until import until
from tests.support.worker import free_port, running_worker

if TYPE_CHECKING:
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

MESSAGES = 400
DOWN = Fault(grpc.StatusCode.UNAVAILABLE, "connection refused")


async def broker_says(amqp: Address, queue: str) -> int:
    """RabbitMQ's number of unacknowledged messages, up to five seconds old."""
    parts = urlsplit(amqp.url)
    url = f"{amqp.management_url}/api/queues/{amqp.vhost}/{quote(queue, safe='')}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    answer = await asyncio.to_thread(management, "GET", url, user, password)
    return int(answer.get("messages_unacknowledged", 0))


async def worker_says(port: int) -> int:
    page = await asyncio.to_thread(scraped, port)
    return int(page.total("memq_inflight_messages", queue="write"))


async def test_the_gauge_is_the_broker_s_number(amqp: Address, engine: EmbeddedEngine) -> None:
    if amqp.management_url is None:
        pytest.skip("needs the management API, which has RabbitMQ's number")
    port, queue = free_port(), Names(amqp.prefix).write
    async with faulty_store(engine.url) as store:
        context = running_worker(amqp, qdrant_url=store.url, metrics_port=port, prefetch=100, store_timeout_seconds=20)
        await asyncio.to_thread(context.__enter__)
        try:
            async with Producer(amqp.url, prefix=amqp.prefix, max_points_per_message=1) as producer:
                await producer.collections.create("docs", 2)

                async def agreed(expected: int | None = None) -> bool:
                    both = await worker_says(port), await broker_says(amqp, queue)
                    return both[0] == both[1] and (both[0] > 0 if expected is None else both[0] == expected)

                async def publish() -> None:
                    await producer.upsert("docs", ids=range(MESSAGES), vectors=np.ones((MESSAGES, 2)))

                # A hold: the store is away, and the worker keeps what it was delivered.
                for method in ("Upsert", "Delete", "List"):
                    store.fail_always(method, DOWN)
                await publish()
                await until(agreed, within=40, every=0.5)
                # A drain, to its end.
                for method in ("Upsert", "Delete", "List"):
                    store.fail_always(method, None)
                await until(lambda: agreed(0), within=60, every=0.5)
                # A burst: writes take as long as the test wants.
                gate = asyncio.Event()
                store.fail_always("Upsert", Fault(until=gate))
                await publish()
                await until(agreed, within=40, every=0.5)
                store.fail_always("Upsert", None)
                gate.set()
                await until(lambda: agreed(0), within=60, every=0.5)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
