import asyncio

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from memq_worker.amqp.failure import lost


async def consumers(connection: AbstractConnection, queue: str, timeout: float) -> int:
    """Return the number of consumers of `queue`, 0 if there is no such queue. Raises BrokerUnavailable."""
    with lost():
        async with asyncio.timeout(timeout):
            channel = await connection.channel(publisher_confirms=False)
            try:
                declared = await (await channel.get_underlay_channel()).queue_declare(queue, passive=True)
            except ChannelNotFoundEntity:
                return 0
            finally:
                await channel.close()
    return declared.consumer_count or 0
