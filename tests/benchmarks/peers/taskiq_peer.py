"""taskiq: a task on a quorum queue, acknowledged when it was executed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import shared
from taskiq_aio_pika import AioPikaBroker, Queue, QueueType

broker = AioPikaBroker(
    shared.AMQP, qos=shared.PREFETCH, delay_queue=None, task_queues=[Queue(name=shared.QUEUE, type=QueueType.QUORUM)]
)
qdrant = shared.async_client()


@broker.task(task_name="upsert")
async def upsert(points: list[dict[str, Any]]) -> None:
    await qdrant.upsert(shared.COLLECTION, shared.structs(points), wait=True)


async def fill() -> None:
    await broker.startup()
    for points in shared.batches():
        await upsert.kiq(points)
    await broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        asyncio.run(fill())
    else:
        options = ("--workers", "1", "--ack-type", "when_executed", "--no-configure-logging", "--max-async-tasks", "64")
        os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", "taskiq_peer:broker", *options])
