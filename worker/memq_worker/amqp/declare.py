import asyncio
from typing import Literal

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed

from memq_schemas import Topology
from memq_schemas.topology import Queue
from memq_worker.amqp.failure import lost
from memq_worker.errors import ConfigurationError

DeclareMode = Literal["always", "check", "never"]


async def declare(
    connection: AbstractConnection, topology: Topology, mode: DeclareMode, timeout: float
) -> frozenset[str]:
    """Makes the topology (`always`) or makes sure that it is there (`check`).

    Returns the classic queues that are there but whose node is down: a cluster does without them until it is back.

    Raises ConfigurationError naming the first exchange or queue that is missing, different or forbidden, and
    BrokerUnavailable.
    """
    down = await _down_queues(connection, topology, timeout)
    topology = topology.without(down)
    if mode == "never":
        return down
    passive = mode == "check"
    with lost():
        # One channel a step would be slow; an error closes the channel, and then there is nothing more to do on it.
        async with asyncio.timeout(timeout), connection.channel() as opened:
            channel = await opened.get_underlay_channel()
            await _exchanges(channel, topology, passive)
            await _queues(channel, topology, passive)
            if not passive:
                await _bindings(channel, topology)
    return down


async def _down_queues(connection: AbstractConnection, topology: Topology, timeout: float) -> frozenset[str]:
    found: set[str] = set()
    with lost():
        async with asyncio.timeout(timeout):
            for queue in topology.queues:
                if queue.arguments.get("x-queue-type") != "quorum" and await _is_down(connection, queue.name):
                    found.add(queue.name)
    return frozenset(found)


async def _is_down(connection: AbstractConnection, queue: str) -> bool:
    # A channel of its own: the broker closes it with the answer.
    channel = await connection.channel(publisher_confirms=False)
    try:
        await (await channel.get_underlay_channel()).queue_declare(queue, passive=True)
    except ChannelNotFoundEntity as error:
        return _DOWN in str(error)
    except ChannelAccessRefused:
        return False
    finally:
        await channel.close()
    return False


async def _exchanges(channel: AbstractChannel, topology: Topology, passive: bool) -> None:
    for exchange in topology.exchanges:
        try:
            await channel.exchange_declare(exchange.name, exchange_type=exchange.kind, durable=True, passive=passive)
        except ChannelNotFoundEntity as error:
            raise ConfigurationError(f"exchange {exchange.name!r} is missing: run memq-worker declare") from error
        except ChannelPreconditionFailed as error:
            raise ConfigurationError(
                f"exchange {exchange.name!r} exists but is not a durable {exchange.kind} exchange: delete it, "
                "or choose another MEMQ_PREFIX"
            ) from error
        except ChannelAccessRefused as error:
            raise ConfigurationError(_forbidden("exchange", exchange.name)) from error


async def _queues(channel: AbstractChannel, topology: Topology, passive: bool) -> None:
    for queue in topology.queues:
        try:
            await channel.queue_declare(queue.name, durable=True, passive=passive, arguments=queue.arguments)
        except ChannelNotFoundEntity as error:
            raise ConfigurationError(f"queue {queue.name!r} is missing: run memq-worker declare") from error
        except ChannelPreconditionFailed as error:
            if _SINGLE in str(error):
                raise ConfigurationError(_other_order(queue)) from error
            raise ConfigurationError(
                f"queue {queue.name!r} exists with other arguments ({error.args[0] if error.args else 'unknown'}): "
                "empty and delete it, choose another MEMQ_PREFIX, or set MEMQ_DECLARE=check to use it as it is"
            ) from error
        except ChannelAccessRefused as error:
            raise ConfigurationError(_forbidden("queue", queue.name)) from error


async def _bindings(channel: AbstractChannel, topology: Topology) -> None:
    for binding in topology.bindings:
        try:
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
        except ChannelAccessRefused as error:
            raise ConfigurationError(_forbidden("binding to queue", binding.queue)) from error


_SINGLE = "x-single-active-consumer"
# RabbitMQ has one code, 404, for a queue that is not there and for one that its node has taken along.
_DOWN = "is down or inaccessible"


def _other_order(queue: Queue) -> str:
    wanted, there = ("strict", "relaxed") if _SINGLE in queue.arguments else ("relaxed", "strict")
    return (
        f"queue {queue.name!r} was declared with MEMQ_ORDER={there} and this worker has {wanted}: start it with "
        f"{there}, or let the workers empty the queue, stop them, delete it, and start all of them with {wanted}"
    )


def _forbidden(what: str, name: str) -> str:
    return (
        f"no right to declare {what} {name!r}: let a user with configure rights run memq-worker declare, "
        "and start the worker with MEMQ_DECLARE=check"
    )
