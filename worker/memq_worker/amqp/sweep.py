"""Removal of chosen messages, and of queues, with the number of messages that were in them."""

import asyncio
from collections.abc import Callable

import memq_amqp
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity
from memq_amqp import Received

from memq_schemas import headers
from memq_schemas.properties import ChangedHeaders
from memq_worker.amqp.failure import lost

_SECONDS = 30.0


async def sweep(
    connection: AbstractConnection, queue: str, wanted: Callable[[Received], bool], copies: str | None = None
) -> int:
    """Remove the wanted messages of a queue, and return their number. Others stay in their places.

    copies: an exchange that leads to the queue: other messages go back as copies, where the broker counts how often one
    is handed back.   Raises BrokerUnavailable.
    """
    with lost():
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        async with channel:
            underlay = await channel.get_underlay_channel()
            try:
                declared = await underlay.queue_declare(queue, passive=True, timeout=_SECONDS)
            except ChannelNotFoundEntity:
                return 0
            publisher = memq_amqp.publisher(underlay, None)
            removed = 0
            for _ in range(declared.message_count or 0):
                message = await memq_amqp.get(underlay, queue, _SECONDS)
                if message is None:
                    break
                if wanted(message):
                    removed += 1
                elif copies is None:
                    continue  # the end of the channel gives it back to its place
                else:
                    own = ChangedHeaders(message.properties.headers, prefixes=headers.BROKER_PREFIXES)
                    copy = message.properties._replace(headers=own, user_id=None)
                    await publisher.publish(copies, message.routing_key, message.body, copy)
                await underlay.basic_ack(message.tag)
            # The broker has read what was sent before it answers.
            await underlay.queue_declare(queue, passive=True, timeout=_SECONDS)
            return removed


async def delete_queue(connection: AbstractConnection, queue: str) -> int | None:
    """Delete a queue with what is in it. Return the number of its messages, None if there was no such queue.

    Raises BrokerUnavailable.
    """
    with lost():
        async with asyncio.timeout(_SECONDS):
            # A channel of its own: the broker closes it for a queue that does not exist.
            channel = await connection.channel(publisher_confirms=False)
            try:
                underlay = await channel.get_underlay_channel()
                declared = await underlay.queue_declare(queue, passive=True)
                await underlay.queue_delete(queue)
            except ChannelNotFoundEntity:
                return None
            finally:
                await channel.close()
            return declared.message_count or 0
