"""A stand-in for the worker: declares the topology and answers requests as a test tells it to."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import aio_pika
import orjson

from memq_schemas import ErrorCode, Names, Operation, error_reply, parse_routing_key, topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

SILENCE = object()

Answer: TypeAlias = Any
Answering: TypeAlias = Callable[["AbstractIncomingMessage"], "Answer | Awaitable[Answer]"]


class Refusal(Exception):
    """Raised by an answering function: becomes the error reply of that code."""

    def __init__(self, code: ErrorCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reply = error_reply(code, message, 0.5, retry_after)


async def declare(channel: AbstractChannel, prefix: str) -> None:
    layout = topology(prefix)
    for exchange in layout.exchanges:
        await channel.declare_exchange(exchange.name, exchange.kind, durable=True)
    for queue in layout.queues:
        await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
    for binding in layout.bindings:
        queue = await channel.get_queue(binding.queue, ensure=False)
        await queue.bind(binding.exchange, binding.routing_key)


def _unknown(_: AbstractIncomingMessage) -> Answer:
    """Refuse the operation, as a worker of an older release does."""
    raise Refusal(ErrorCode.UNKNOWN_OPERATION, "expected a routing key like upsert.<collection>")


class Responder:
    """Consumes writes and requests. `seen` has every message; what an operation answers is set with `on`.

    An answer is the reply's `result`, SILENCE for none, bytes for a reply body of its own, or a Refusal raised.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel
        self.seen: list[AbstractIncomingMessage] = []
        self.arrived = asyncio.Condition()
        self._answers: dict[Operation, Answering] = {
            Operation.UPSERT: lambda m: {"upserted": len(orjson.loads(m.body)["points"])},
            Operation.DELETE: lambda m: {"deleted": len(orjson.loads(m.body).get("ids", [])) or None},
            Operation.PAYLOAD: lambda m: {"updated": len(orjson.loads(m.body).get("ids", [])) or None},
            Operation.COUNT: lambda _: {"count": 0},
            Operation.QUERY: lambda _: [],
            Operation.QUERIES: _unknown,
            Operation.GET: lambda _: [],
            Operation.LIST: lambda _: {"collections": []},
            Operation.CREATE: lambda _: {"created": True},
            Operation.DROP: lambda _: {"deleted": True},
        }

    def on(self, operation: Operation, answering: Answering) -> None:
        self._answers[operation] = answering

    def bodies(self, operation: Operation) -> list[Any]:
        return [
            orjson.loads(m.body)
            for m in self.seen
            if m.routing_key and parse_routing_key(m.routing_key)[0] is operation
        ]

    async def until(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.seen) >= count)

    async def handle(self, message: AbstractIncomingMessage) -> None:
        async with self.arrived:
            self.seen.append(message)
            self.arrived.notify_all()
        operation, _ = parse_routing_key(message.routing_key or "")
        try:
            answer = self._answers[operation](message)
            if inspect.isawaitable(answer):
                answer = await answer
        except Refusal as refusal:
            answer = refusal.reply.model_dump_json(exclude_none=True).encode()
        if answer is not SILENCE:
            body = answer if isinstance(answer, bytes) else result(answer)
            await self.reply(message, body)
        await message.ack()

    async def reply(self, message: AbstractIncomingMessage, body: bytes, correlation_id: str | None = None) -> None:
        if message.reply_to is None:
            return
        reply = aio_pika.Message(body, correlation_id=correlation_id or message.correlation_id)
        await self.channel.default_exchange.publish(reply, message.reply_to)


def result(value: Any, elapsed_ms: float = 1.5) -> bytes:
    return orjson.dumps({"status": 200, "result": value, "elapsed_ms": elapsed_ms})


@asynccontextmanager
async def responder(url: str, prefix: str, *, consuming: bool = True) -> AsyncIterator[Responder]:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await declare(channel, prefix)
        names = Names(prefix)
        standin = Responder(channel)
        for name in (names.write, names.query) if consuming else ():
            queue = await channel.get_queue(name, ensure=False)
            await queue.consume(standin.handle)
        yield standin
