import asyncio
from collections.abc import Awaitable, Callable, Iterable

from memq_amqp import Channel, Connection, Lost, Refused, Returned
from memq_amqp.refusals import Kind, Refusal

from memq_schemas import Topology
from memq_schemas.properties import Properties
from memq_worker.amqp.failure import lost
from memq_worker.errors import ConfigurationError


def denied(permission: str, kind: str, name: str, refusal: Refusal | None) -> ConfigurationError:
    """The error of a missing permission, with the broker's own words."""
    words = f" ({refusal})" if refusal is not None else ""
    return ConfigurationError(f"{kind} {name!r}: the user has no {permission} permission on it{words}; grant it")


async def check_permissions(connection: Connection, topology: Topology, timeout: float) -> None:
    """Try what a worker does with each queue and exchange, without taking or leaving a message.

    Raises ConfigurationError for the first permission that is missing, and BrokerUnavailable.
    """
    names = topology.names
    consumed = (names.write, names.write_bulk, names.query, names.suspect)
    queues = [queue.name for queue in topology.queues if queue.name in consumed]
    # Copies go through the fanout exchanges, replies through the default exchange.
    exchanges = ["", *(exchange.name for exchange in topology.exchanges if exchange.kind == "fanout")]
    await check_access(connection, queues, exchanges, timeout)


async def check_access(
    connection: Connection, queues: Iterable[str], exchanges: Iterable[str], timeout: float
) -> list[str]:
    """Try to consume the queues and to publish to the exchanges, without taking or leaving a message.

    Return the names of those that do not exist. Raises ConfigurationError for the first permission that is missing, and
    BrokerUnavailable.
    """
    with lost():
        async with asyncio.timeout(timeout):
            there = {queue: await _try(connection, _consume(queue), "read", "queue", queue) for queue in queues}
            for exchange in exchanges:
                shown = exchange or "amq.default"
                there[exchange] = await _try(connection, _publish(exchange), "write", "exchange", shown)
    return [name for name, found in there.items() if not found]


async def _try(
    connection: Connection,
    act: Callable[[Channel], Awaitable[object]],
    permission: str,
    kind: str,
    name: str,
) -> bool:
    """Return False if there is no such queue or exchange."""
    # A channel of its own: the broker closes it with the answer.
    channel = await connection.channel()
    try:
        await act(channel)
    except (Refused, Returned):
        pass
    except Lost as error:
        if error.kind is Kind.PERMISSION:
            raise denied(permission, kind, name, error.refusal) from error
        if error.kind is Kind.LOST:
            raise
        return error.kind is not Kind.NOT_FOUND
    finally:
        await channel.close()
    return True


def _consume(queue: str) -> Callable[[Channel], Awaitable[object]]:
    async def consume(channel: Channel) -> None:
        # The broker checks the permission first, and refuses this argument before it makes a consumer.
        await channel.consumer(_nothing).start(queue, arguments={"x-priority": "none"})

    return consume


def _publish(exchange: str) -> Callable[[Channel], Awaitable[object]]:
    async def publish(channel: Channel) -> None:
        # Likewise with this expiration, before it routes the message.
        await channel.publisher().publish(exchange, "", b"", Properties(expiration="none"))

    return publish


def _nothing(*_: object) -> None: ...
