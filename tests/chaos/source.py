"""Sends an experiment's messages and keeps the ledger: attempted before, confirmed after, again until confirmed."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from typing import TYPE_CHECKING, Any

import aio_pika
import orjson
from aiormq.exceptions import AMQPError

from memq import Producer
from memq.errors import BrokerUnavailable, ReplyTimeout, Unconfirmed, Unroutable
from memq_schemas import headers
from tests.chaos.ledger import COLLECTION, IDENTITY, Message, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

    from tests.chaos.ledger import Ledger
    from tests.support.broker import Address

_WINDOW = 64
_CONFIRM_SECONDS = 10.0
_AT_A_TIME = 4  # writes that are timed

NOT_CONFIRMED = (Unconfirmed, BrokerUnavailable, Unroutable)


class Making:
    """Numbers messages and hands out keys, each a point id that no other message has unless it is asked for."""

    def __init__(self, run: str, producer: str = "a") -> None:
        self.run = run
        self.producer = producer
        self._numbers = itertools.count(1)
        self._keys = itertools.count(1)

    def message(self, keys: Sequence[int] | int = 1, **fields: Any) -> Message:
        """`keys`: how many new ones, or these."""
        chosen = tuple(itertools.islice(self._keys, keys)) if isinstance(keys, int) else tuple(keys)
        return Message(self.run, self.producer, next(self._numbers), chosen, **fields)

    def messages(self, count: int, points: int = 1) -> Iterator[Message]:
        for _ in range(count):
            yield self.message(points)


class SdkSource:
    """Through memq's own Producer, whose word on what is confirmed is under test as well."""

    def __init__(
        self,
        address: Address,
        ledger: Ledger,
        url: str | Sequence[str] | None = None,
        confirm_seconds: float = _CONFIRM_SECONDS,
        tenant: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._producer = Producer(
            url or address.url,
            prefix=address.prefix,
            confirm_timeout=confirm_seconds,
            timeout=60,
            name="chaos",
            tenant=tenant,
        )
        self.longest_gap = 0.0  # seconds between two confirms while sending
        self.unconfirmed = 0

    async def __aenter__(self) -> SdkSource:
        await self._producer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.__aexit__(kind, error, trace)

    async def send(self, messages: Iterable[Message], within: float = 120.0, pause: float = 0.0) -> None:
        """Until each is confirmed. What was not confirmed is sent again: it may have arrived, which is harmless."""
        deadline = time.monotonic() + within
        last = time.monotonic()
        for window in _windows(messages):
            self._ledger.attempted(window)
            waiting = list(window)
            while waiting:
                done = await asyncio.gather(*(self._sent(message) for message in waiting))
                confirmed = [message for message, sent in zip(waiting, done, strict=True) if sent]
                if confirmed:
                    self._ledger.confirmed(confirmed)
                    self.longest_gap = max(self.longest_gap, time.monotonic() - last)
                    last = time.monotonic()
                waiting = [message for message, sent in zip(waiting, done, strict=True) if not sent]
                self.unconfirmed += len(waiting)
                if waiting and time.monotonic() > deadline:
                    return
            await asyncio.sleep(pause)

    async def send_timed(self, messages: Iterable[Message], within: float) -> list[float]:
        """Each written with `wait`, a few at a time: the seconds until the worker has answered, `within` at most."""

        async def write(message: Message) -> float:
            async with places:
                began = time.perf_counter()
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._producer.upsert(COLLECTION, message.body["points"], wait=True)
                except TimeoutError:
                    return within
                self._ledger.confirmed([message])
                return time.perf_counter() - began

        deadline = asyncio.get_running_loop().time() + within
        places = asyncio.Semaphore(_AT_A_TIME)
        taken: list[float] = []
        for window in _windows(messages):
            self._ledger.attempted(window)
            taken += await asyncio.gather(*map(write, window))
        return taken

    async def try_once(self, messages: Sequence[Message]) -> int:
        """How many were confirmed, each having been tried once."""
        self._ledger.attempted(messages)
        done = await asyncio.gather(*(self._sent(message) for message in messages))
        self._ledger.confirmed([message for message, sent in zip(messages, done, strict=True) if sent])
        return sum(done)

    async def _sent(self, message: Message) -> bool:
        try:
            await self._producer.upsert(COLLECTION, message.body["points"])
        except NOT_CONFIRMED:
            return False
        return True

    async def count(self) -> int | None:
        """What a worker answers; None when nobody does."""
        try:
            return (await self._producer.count(COLLECTION)).count
        except ReplyTimeout:
            return None


def _windows(messages: Iterable[Message]) -> Iterator[tuple[Message, ...]]:
    following = iter(messages)
    while window := tuple(itertools.islice(following, _WINDOW)):
        yield window


class Wire:
    """Plain AMQP, as a client in another language, or an attacker, would write it. Keeps every reply it gets."""

    def __init__(self, address: Address, ledger: Ledger) -> None:
        self._address = address
        self._ledger = ledger
        self.replies = f"{address.prefix}.reply.{uuid.uuid4().hex}"
        self.connection: AbstractConnection
        self.channel: AbstractChannel

    async def __aenter__(self) -> Wire:
        self.connection = await aio_pika.connect(self._address.url)
        self.channel = await self.connection.channel(on_return_raises=True)
        self._exchange = await self.channel.get_exchange(f"{self._address.prefix}.commands", ensure=False)
        answers = await self.connection.channel()
        queue = await answers.declare_queue(self.replies, durable=True)
        await queue.consume(self._replied, no_ack=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    async def _replied(self, message: AbstractIncomingMessage) -> None:
        body = orjson.loads(message.body)
        code = body.get("error", {}).get("code")
        self._ledger.replied(Reply(str(message.correlation_id), body["status"], code, body.get("result")))

    async def send(self, messages: Iterable[Message], **properties: Any) -> None:
        """Each once, with its name in a header."""
        for window in _windows(messages):
            self._ledger.attempted(window)
            await asyncio.gather(
                *(
                    self.publish(f"{message.operation}.{COLLECTION}", orjson.dumps(message.body), message, **properties)
                    for message in window
                )
            )

    async def hostile(self, routing_key: str, body: bytes, message: Message, **properties: Any) -> None:
        self._ledger.attempted([message])
        await self.publish(routing_key, body, message, **properties)

    async def ask(self, routing_key: str, body: dict[str, Any], question: dict[str, Any], **properties: Any) -> str:
        """Publishes a request; the correlation id. `question` is what the checker compares replies with."""
        correlation_id = uuid.uuid4().hex
        self._ledger.asked(correlation_id, question)
        given = {"reply_to": self.replies, "correlation_id": correlation_id, **properties}
        await self.publish(routing_key, orjson.dumps(body), None, **given)
        return correlation_id

    async def ask_for(self, key: int) -> str:
        question = {"operation": "get", "key": key}
        return await self.ask(f"get.{COLLECTION}", {"ids": [key]}, question, delivery_mode=1)

    async def send_with_receipt(self, message: Message) -> str:
        correlation_id = uuid.uuid4().hex
        self._ledger.attempted([message])
        question = {"operation": message.operation, "points": len(message.keys), "expected": message.expected}
        self._ledger.asked(correlation_id, question)
        properties = {"reply_to": self.replies, "correlation_id": correlation_id}
        await self.publish(f"{message.operation}.{COLLECTION}", orjson.dumps(message.body), message, **properties)
        return correlation_id

    async def publish(self, routing_key: str, body: bytes, message: Message | None, **properties: Any) -> bool:
        """Whether it was confirmed. The same body twice is two messages to the broker."""
        given: dict[str, Any] = {
            "content_type": headers.JSON,
            "delivery_mode": 2,
            "priority": headers.PRIORITY,
            "message_id": uuid.uuid4().hex,
            **properties,
        }
        if message is not None:
            given["headers"] = {**given.get("headers", {}), IDENTITY: message.name}
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self._exchange.publish(aio_pika.Message(body, **given), routing_key)
        except (AMQPError, TimeoutError):
            return False
        if message is not None:
            self._ledger.confirmed([message])
        return True
