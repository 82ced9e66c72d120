import asyncio
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPError
from memq_amqp.refusals import Kind, Refusal, refusal_of
from pamqp.commands import Basic

from memq_schemas import Topology
from memq_worker.amqp.failure import lost
from memq_worker.errors import ConfigurationError


def denied(permission: str, kind: str, name: str, refusal: Refusal | None) -> ConfigurationError:
    """The error of a missing permission, with the broker's own words."""
    words = f" ({refusal})" if refusal is not None else ""
    return ConfigurationError(f"{kind} {name!r}: the user has no {permission} permission on it{words}; grant it")


async def check_permissions(connection: AbstractConnection, topology: Topology, timeout: float) -> None:
    """Try what a worker does with each queue and exchange, without taking or leaving a message.

    Raises ConfigurationError for the first permission that is missing, and BrokerUnavailable.
    """
    names = topology.names
    consumed = (names.write, names.write_bulk, names.query, names.suspect)
    # Copies go through the fanout exchanges, replies through the default exchange.
    exchanges = ("", *(exchange.name for exchange in topology.exchanges if exchange.kind == "fanout"))
    with lost():
        async with asyncio.timeout(timeout):
            for queue in (queue.name for queue in topology.queues if queue.name in consumed):
                await _try(connection, _consume(queue), "read", "queue", queue)
            for exchange in exchanges:
                await _try(connection, _publish(exchange), "write", "exchange", exchange or "amq.default")


async def _try(
    connection: AbstractConnection,
    act: Callable[[AbstractChannel], Awaitable[object]],
    permission: str,
    kind: str,
    name: str,
) -> None:
    # A channel of its own: the broker closes it with the answer.
    channel = await connection.channel(on_return_raises=True)
    try:
        await act(await channel.get_underlay_channel())
    except AMQPError as error:
        refusal = refusal_of(error)
        if refusal is not None and refusal.kind is Kind.PERMISSION:
            raise denied(permission, kind, name, refusal) from error
    finally:
        await channel.close()


def _consume(queue: str) -> Callable[[AbstractChannel], Awaitable[object]]:
    async def consume(channel: AbstractChannel) -> None:
        # The broker checks the permission first, and refuses this argument before it makes a consumer.
        await channel.basic_consume(queue, _nothing, arguments={"x-priority": "none"})

    return consume


def _publish(exchange: str) -> Callable[[AbstractChannel], Awaitable[object]]:
    async def publish(channel: AbstractChannel) -> None:
        # Likewise with this expiration, before it routes the message.
        await channel.basic_publish(b"", exchange=exchange, properties=Basic.Properties(expiration="none"))

    return publish


async def _nothing(_: object) -> None: ...
