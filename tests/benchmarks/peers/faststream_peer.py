"""FastStream: a subscriber with a typed body, acknowledged when the handler returns."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import shared
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from pydantic import BaseModel

broker = RabbitBroker(shared.AMQP, default_channel=Channel(prefetch_count=shared.PREFETCH), logger=None)
queue = RabbitQueue(shared.QUEUE, durable=True, queue_type=QueueType.QUORUM)
qdrant = shared.async_client()


class Point(BaseModel):
    id: str
    vector: list[float]
    payload: dict[str, Any]


class Upsert(BaseModel):
    points: list[Point]


@broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def upsert(body: Upsert) -> None:
    await qdrant.upsert(shared.COLLECTION, shared.structs([dict(point) for point in body.points]), wait=True)


async def fill() -> None:
    async with broker:
        await broker.declare_queue(queue)
        for body in shared.messages():
            await broker.publish(body, queue, content_type="application/json", persist=True)


asyncio.run(fill() if sys.argv[1] == "fill" else FastStream(broker).run(log_level=30))
