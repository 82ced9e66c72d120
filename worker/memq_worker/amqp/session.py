import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from memq_transport import frames_of

from memq_schemas import Topology
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.declare import DeclareMode, declare, down_queues
from memq_worker.amqp.failure import lost
from memq_worker.amqp.link import Accept, ConsumerLink
from memq_worker.amqp.publish import Publisher, publisher
from memq_worker.amqp.watch import Watch
from memq_worker.errors import BrokerUnavailable, ConfigurationError

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SessionOptions:
    topology: Topology
    declare: DeclareMode
    prefetch: int
    request_prefetch: int
    timeout_seconds: float

    @property
    def prefetch_by_role(self) -> dict[str, int]:
        return {"write": self.prefetch, "query": self.request_prefetch, "suspect": 1}


class Session:
    """One life of our two connections to the broker: from declared and consuming to lost or closed.

    Publishing has a connection of its own, since the broker stops reading from one that publishes when it is short of
    memory or disk, and acknowledgements have to get through then.
    """

    def __init__(
        self, publishing: AbstractConnection, consuming: AbstractConnection, options: SessionOptions, accept: Accept
    ) -> None:
        self.watch = Watch(consuming, publishing, options.timeout_seconds)
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.down: frozenset[str] = frozenset()
        self._publishing = publishing
        self._consuming = consuming
        self._options = options
        self._accept = accept
        self._by_role: dict[str, ConsumerLink] = {}
        self._return: asyncio.Task[None] | None = None

    @property
    def _links(self) -> Iterable[ConsumerLink]:
        return self._by_role.values()

    @property
    def consuming(self) -> bool:
        """Whether every queue is consumed."""
        return bool(self._by_role) and not self.down and all(link.consuming for link in self._links)

    @property
    def unsettled(self) -> int:
        return sum(link.unsettled for link in self._links)

    @property
    def unsettled_by_role(self) -> dict[str, int]:
        """Of the queues `write`, `query` and `suspect`, by these words; none on a channel that is gone."""
        return {role: link.unsettled if link.alive else 0 for role, link in self._by_role.items()}

    async def start(self) -> None:
        """Declares and consumes. A queue whose node is down is left out, and taken up when it is back.

        Raises ConfigurationError or BrokerUnavailable.
        """
        with lost():
            channel = await _channel(self._publishing, self)
            confirmed = publisher(channel, frames_of(self._publishing), self._options.timeout_seconds)
        await self._take_up(confirmed)
        if self.down:
            logger.warning("queues unavailable, their node is down", extra={"queues": sorted(self.down)})
            self._return = asyncio.create_task(self._await_return(confirmed))

    async def _take_up(self, confirmed: Publisher) -> None:
        topology, timeout = self._options.topology, self._options.timeout_seconds
        down = await down_queues(self._publishing, topology, timeout)
        await declare(self._publishing, topology.without(down), self._options.declare, timeout)
        with lost():
            for role, prefetch in self._options.prefetch_by_role.items():
                queue = getattr(topology.names, role)
                if role not in self._by_role and queue not in down:
                    await self._consume(role, queue, prefetch, confirmed)
        self.down = down

    async def _consume(self, role: str, queue: str, prefetch: int, confirmed: Publisher) -> None:
        link = ConsumerLink(await _channel(self._consuming, self), queue, confirmed, self.end)
        self._by_role[role] = link
        await link.consume(
            prefetch,
            self._accept,
            alone=queue == self._options.topology.names.suspect,
            frames=frames_of(self._consuming),
            timeout=self._options.timeout_seconds,
        )

    async def _await_return(self, confirmed: Publisher) -> None:
        try:
            while self.down:
                await asyncio.sleep(_AGAIN_SECONDS)
                await self._take_up(confirmed)
            logger.info("queues available again")
        except (BrokerUnavailable, ConfigurationError) as error:
            self.end(str(error))
        except Exception as error:
            logger.exception("unexpected error while waiting for a queue")
            self.end(f"unexpected {type(error).__name__}")

    def end(self, reason: str) -> None:
        """From now on nothing is settled through this session."""
        self._wait_no_longer()
        for link in self._links:
            link.end()
        if not self.ended.done():
            self.ended.set_result(reason)

    def _wait_no_longer(self) -> None:
        if self._return is not None and self._return is not asyncio.current_task():
            self._return.cancel()

    async def stop_consuming(self, *queues: str) -> None:
        """Of these queues, or of all, and then for good. Raises BrokerUnavailable."""
        if not queues:
            self._wait_no_longer()
        with lost():
            chosen = [link for link in self._links if not queues or link.queue in queues]
            await asyncio.gather(*(link.stop_consuming(self._options.timeout_seconds) for link in chosen))

    async def resume_consuming(self) -> None:
        """Of whatever was stopped. Raises BrokerUnavailable."""
        with lost():
            await asyncio.gather(*(link.resume_consuming(self._options.timeout_seconds) for link in self._links))

    async def flush(self) -> None:
        """Sends every acknowledgement, and hands back what was released. Raises BrokerUnavailable."""
        with lost():
            for link in self._links:
                await link.flush(requeued=True)


@asynccontextmanager
async def open_session(brokers: Brokers, options: SessionOptions, accept: Accept) -> AsyncGenerator[Session]:
    """Connects, declares, consumes. Raises ConfigurationError or BrokerUnavailable."""
    async with AsyncExitStack() as stack:
        publishing = await stack.enter_async_context(brokers.connect("publish"))
        consuming = await stack.enter_async_context(brokers.connect("consume"))
        session = Session(publishing, consuming, options, accept)
        stack.callback(session.end, "closed")
        for connection in (publishing, consuming):
            connection.close_callbacks.add(_ending(session, "connection closed"))
        await session.start()
        yield session


def _ending(session: Session, reason: str) -> Callable[..., None]:
    def end(*_: object) -> None:
        session.end(reason)

    return end


async def _channel(connection: AbstractConnection, session: Session) -> AbstractChannel:
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    channel.close_callbacks.add(_ending(session, "channel closed"))
    return await channel.get_underlay_channel()
