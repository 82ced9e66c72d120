import asyncio
from typing import Literal

from memq_amqp import Channel, Connection, Lost
from memq_amqp.refusals import Kind

from memq_schemas import Topology
from memq_schemas.topology import Queue
from memq_worker.amqp.failure import lost
from memq_worker.errors import ConfigurationError

DeclareMode = Literal["always", "check", "never"]


async def declare(connection: Connection, topology: Topology, mode: DeclareMode, timeout: float) -> frozenset[str]:
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
        async with asyncio.timeout(timeout):
            channel = await connection.channel()
            try:
                await _exchanges(channel, topology, passive)
                await _queues(channel, topology, passive)
                if not passive:
                    await _bindings(channel, topology)
            finally:
                await channel.close()
    return down


async def _down_queues(connection: Connection, topology: Topology, timeout: float) -> frozenset[str]:
    found: set[str] = set()
    with lost():
        async with asyncio.timeout(timeout):
            for queue in topology.queues:
                if queue.arguments.get("x-queue-type") != "quorum" and await _is_down(connection, queue.name):
                    found.add(queue.name)
    return frozenset(found)


async def _is_down(connection: Connection, queue: str) -> bool:
    # A channel of its own: the broker closes it with the answer.
    channel = await connection.channel(confirms=False)
    try:
        await channel.declare_queue(queue, passive=True)
    except Lost as error:
        if error.kind in (Kind.QUEUE_DOWN, Kind.NOT_FOUND, Kind.PERMISSION):
            return error.kind is Kind.QUEUE_DOWN
        raise
    finally:
        await channel.close()
    return False


async def _exchanges(channel: Channel, topology: Topology, passive: bool) -> None:
    for exchange in topology.exchanges:
        try:
            await channel.declare_exchange(exchange.name, exchange.kind, passive=passive)
        except Lost as error:
            raise _explained(
                error,
                "exchange",
                exchange.name,
                f"exchange {exchange.name!r} exists but is not a durable {exchange.kind} exchange: delete it, "
                "or choose another MEMQ_PREFIX",
            ) from error


async def _queues(channel: Channel, topology: Topology, passive: bool) -> None:
    for queue in topology.queues:
        try:
            await channel.declare_queue(queue.name, passive=passive, arguments=queue.arguments)
        except Lost as error:
            different = (
                _other_order(queue)
                if _SINGLE in str(error)
                else f"queue {queue.name!r} exists with other arguments ({error}): empty and delete it, choose another "
                "MEMQ_PREFIX, or set MEMQ_DECLARE=check to use it as it is"
            )
            raise _explained(error, "queue", queue.name, different) from error


async def _bindings(channel: Channel, topology: Topology) -> None:
    for binding in topology.bindings:
        try:
            await channel.bind(binding.queue, binding.exchange, binding.routing_key, binding.arguments)
        except Lost as error:
            raise _explained(error, "binding to queue", binding.queue, str(error)) from error


_SINGLE = "x-single-active-consumer"


def _explained(error: Lost, what: str, name: str, different: str) -> Exception:
    """Return the ConfigurationError of a refused declaration, and `error` itself for a lost connection.

    different: text for an exchange or queue that exists with other properties.
    """
    match error.kind:
        case Kind.NOT_FOUND:
            return ConfigurationError(f"{what} {name!r} is missing: run memq-worker declare")
        case Kind.MISMATCH:
            return ConfigurationError(different)
        case Kind.PERMISSION:
            return ConfigurationError(_forbidden(what, name))
        case _:
            return error


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
