import asyncio

from aio_pika import Message
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, PublishError

from memq_schemas import Names, Operation, headers
from memq_schemas.routing import UNNAMED
from memq_worker.amqp.failure import lost

# No collection has this name; the probe has expired before any worker reads it.
_COLLECTION = "memq-check"
_EXPIRED = 10**11  # epoch milliseconds, of 1973: a smaller number is refused, and a refused write is kept


async def unbound(connection: AbstractConnection, names: Names, timeout: float) -> list[Operation] | None:
    """Publish one mandatory, expired message per operation and return the operations that no queue is bound to.

    Returns None if the user may not publish commands. Raises BrokerUnavailable.
    """
    returned: list[Operation] = []
    with lost():
        async with asyncio.timeout(timeout):
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            try:
                exchange = await channel.get_exchange(names.commands, ensure=False)
                for operation in Operation:
                    key = operation.value if operation in UNNAMED else f"{operation.value}.{_COLLECTION}"
                    probe = Message(b"{}", content_type=headers.JSON, headers={headers.DEADLINE: _EXPIRED})
                    try:
                        await exchange.publish(probe, key, mandatory=True)
                    except PublishError:
                        returned.append(operation)
            except ChannelAccessRefused:
                return None
            finally:
                await channel.close()
    return returned
