import asyncio

from memq_amqp import Connection, Lost, Returned
from memq_amqp.refusals import Kind

from memq_schemas import Names, Operation, headers
from memq_schemas.properties import Properties
from memq_schemas.routing import UNNAMED
from memq_worker.amqp.failure import lost

# No collection has this name; the probe has expired before any worker reads it.
_COLLECTION = "memq-check"
_EXPIRED = 10**11  # epoch milliseconds, of 1973: a smaller number is refused, and a refused write is kept


async def unbound(connection: Connection, names: Names, timeout: float) -> list[Operation] | None:
    """Publish one mandatory, expired message per operation and return the operations that no queue is bound to.

    Returns None if the user may not publish commands. Raises BrokerUnavailable.
    """
    returned: list[Operation] = []
    with lost():
        async with asyncio.timeout(timeout):
            channel = await connection.channel()
            publisher = channel.publisher()
            probe = Properties(content_type=headers.JSON, headers={headers.DEADLINE: _EXPIRED})
            try:
                for operation in Operation:
                    key = operation.value if operation in UNNAMED else f"{operation.value}.{_COLLECTION}"
                    try:
                        await publisher.publish(names.commands, key, b"{}", probe)
                    except Returned:
                        returned.append(operation)
            except Lost as error:
                if error.kind is Kind.PERMISSION:
                    return None
                raise
            finally:
                await channel.close()
    return returned
