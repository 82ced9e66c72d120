"""Removal of chosen messages, and of queues, with the number of messages that were in them."""

import asyncio
from collections.abc import Callable

from memq_amqp import Connection, Lost, Received
from memq_amqp.refusals import Kind

from memq_schemas import headers
from memq_schemas.properties import ChangedHeaders
from memq_worker.amqp.failure import lost

_SECONDS = 30.0


async def sweep(
    connection: Connection, queue: str, wanted: Callable[[Received], bool], copies: str | None = None
) -> int:
    """Remove the wanted messages of a queue, and return their number. Others stay in their places.

    copies: an exchange that leads to the queue: other messages go back as copies, where the broker counts how often one
    is handed back.   Raises BrokerUnavailable.
    """
    with lost():
        channel, copying = await connection.channel(confirms=False), await connection.channel()
        try:
            try:
                declared = await channel.declare_queue(queue, passive=True, timeout=_SECONDS)
            except Lost as error:
                if error.kind is Kind.NOT_FOUND:
                    return 0
                raise
            publisher = copying.publisher()
            removed = 0
            for _ in range(declared.messages):
                message = await channel.get(queue, _SECONDS)
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
                await channel.ack(message.tag)
            # The broker has read what was sent before it answers.
            await channel.declare_queue(queue, passive=True, timeout=_SECONDS)
            return removed
        finally:
            await channel.close()
            await copying.close()


async def delete_queue(connection: Connection, queue: str) -> int | None:
    """Delete a queue with what is in it. Return the number of its messages, None if there was no such queue.

    Raises BrokerUnavailable.
    """
    with lost():
        async with asyncio.timeout(_SECONDS):
            # A channel of its own: the broker closes it for a queue that does not exist.
            channel = await connection.channel(confirms=False)
            try:
                declared = await channel.declare_queue(queue, passive=True)
                await channel.delete_queue(queue)
            except Lost as error:
                if error.kind is Kind.NOT_FOUND:
                    return None
                raise
            finally:
                await channel.close()
            return declared.messages
