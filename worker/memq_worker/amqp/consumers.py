import asyncio

from memq_amqp import Connection, Lost
from memq_amqp.refusals import Kind

from memq_worker.amqp.failure import lost


async def consumers(connection: Connection, queue: str, timeout: float) -> int:
    """Return the number of consumers of `queue`, 0 if there is no such queue. Raises BrokerUnavailable."""
    with lost():
        async with asyncio.timeout(timeout):
            channel = await connection.channel(confirms=False)
            try:
                return (await channel.declare_queue(queue, passive=True)).consumers
            except Lost as error:
                if error.kind in (Kind.NOT_FOUND, Kind.QUEUE_DOWN):
                    return 0
                raise
            finally:
                await channel.close()
