"""Thirty lines of aio-pika: a callback for each message, the official client, acknowledged after the write."""

from __future__ import annotations

import asyncio
import json
import sys

import aio_pika
import shared


async def work() -> None:
    qdrant = shared.async_client()
    connection = await aio_pika.connect_robust(shared.AMQP)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=shared.PREFETCH)
    queue = await channel.declare_queue(shared.QUEUE, durable=True, arguments=shared.QUORUM)

    async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        async with message.process():
            points = json.loads(message.body)["points"]
            await qdrant.upsert(shared.COLLECTION, shared.structs(points), wait=True)

    await queue.consume(on_message)
    await asyncio.Future()


async def fill() -> None:
    async with await aio_pika.connect(shared.AMQP) as connection:
        channel = await connection.channel()
        await channel.declare_queue(shared.QUEUE, durable=True, arguments=shared.QUORUM)
        for body in shared.messages():
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, shared.QUEUE)


asyncio.run(fill() if sys.argv[1] == "fill" else work())
