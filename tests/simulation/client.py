"""The client's side of the simulated broker: what the worker touches of aio-pika's and aiormq's connections."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import memq_amqp
from aiormq.exceptions import ChannelInvalidStateError
from memq_amqp.address import parse
from pamqp.commands import Connection as Method

from memq_worker.errors import BrokerUnavailable
from tests.simulation.channel import Channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.simulation.broker import Broker
    from tests.simulation.world import Process

HEARTBEATS_SECONDS = 30.0
(ADDRESS,) = parse("amqp://simulated")


class Connections:
    """In place of amqp.connection.Brokers."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self.places = ["simulated"]

    @asynccontextmanager
    async def connect(self, purpose: str) -> AsyncGenerator[memq_amqp.Connection]:
        await asyncio.sleep(self._broker.world.random.random() * 0.01)
        if not self._broker.up or self._process.dead:
            raise BrokerUnavailable("nobody answers")
        connection = Connection(self._broker, self._process)
        try:
            yield memq_amqp.Connection(connection, ADDRESS)  # pyright: ignore[reportArgumentType]
        finally:
            await connection.close()


class Connection:
    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker = broker
        self.process = process
        self.close_callbacks: set[Callable[..., None]] = set()
        self.channels: list[Channel] = []
        self.alive = True
        self.silent = False
        self.connection_tune = Method.Tune()
        self._context = copy_context()
        self._pipes: tuple[deque[Callable[[], None]], deque[Callable[[], None]]] = (deque(), deque())
        self._calls: dict[asyncio.Future[Any], None] = {}
        broker.connections.append(self)

    @property
    def transport(self) -> Connection:
        return self

    @property
    def is_closed(self) -> bool:
        return not self.alive

    async def ready(self) -> None:
        """As long as the broker does not block it, which it never does."""

    async def channel(self, **_: Any) -> Channel:
        channel = Channel(self)
        self.channels.append(channel)
        await self.call(lambda: None)
        return channel

    def send(self, frame: Callable[[], None], *, to_client: bool = False) -> None:
        """Runs `frame` at the other end, later, after everything sent before it."""
        if not self.alive or self.silent:
            return
        pipe = self._pipes[to_client]
        pipe.append(frame)
        world = self.broker.world
        delay = world.random.random() * 0.005
        if to_client:
            world.loop.call_at(world.loop.time() + delay, self._arrive, pipe, context=self._context)
        else:
            world.loop.call_later(delay, self._arrive, pipe)

    def _arrive(self, pipe: deque[Callable[[], None]]) -> None:
        if pipe and self.alive and not self.silent:
            pipe.popleft()()

    async def call(self, at_broker: Callable[[], Any], timeout: float | None = None) -> Any:
        """A round trip. As in aiormq, it ends with a cancellation when the connection dies."""
        if not self.alive:
            raise ChannelInvalidStateError("closed")
        answer: asyncio.Future[Any] = self.broker.world.loop.create_future()
        self._calls[answer] = None

        def ask() -> None:
            result = at_broker()
            self.send(lambda: None if answer.done() else answer.set_result(result), to_client=True)

        self.send(ask)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            self._calls.pop(answer, None)

    def silence(self) -> None:
        """Half-open: nothing passes any more, and neither end knows before its heartbeats are missed."""
        self.silent = True
        self.broker.world.loop.call_later(HEARTBEATS_SECONDS, self.die, "heartbeats missed")

    def die(self, reason: str) -> None:
        if not self.alive:
            return
        self._end()
        self._context.copy().run(self._told, reason)

    def crash(self) -> None:
        """The client's process is gone: the broker notices, nobody else does."""
        if self.alive:
            self._end()
            for call in self._calls:
                call.cancel()

    def _told(self, reason: str) -> None:
        for call in list(self._calls):
            call.cancel()
        for channel in self.channels:
            channel.open = False
        for callback in sorted(self.close_callbacks, key=lambda c: c.__qualname__):
            callback(self, ChannelInvalidStateError(reason))

    def _end(self) -> None:
        self.alive = False
        self.broker.connections.remove(self)
        for channel in self.channels:
            channel.gone()

    async def close(self) -> None:
        """What has been sent still arrives."""
        if self.alive and not self.silent:
            try:
                await self.call(lambda: None, 5.0)
            except (asyncio.CancelledError, TimeoutError):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    self._closed()
                    raise
        self._closed()

    def _closed(self) -> None:
        if self.alive:
            self._end()
            for channel in self.channels:
                channel.open = False
