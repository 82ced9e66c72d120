import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from memq_transport import frames_of

from memq_schemas import Topology
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.declare import DeclareMode
from memq_worker.amqp.failure import lost
from memq_worker.amqp.link import Accept, ConsumerLink
from memq_worker.amqp.publishing import Publishing, publishing
from memq_worker.amqp.watch import Watch
from memq_worker.pipeline.delivery import Delivery


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
    memory or disk, and acknowledgements have to get through then. That connection may be replaced; the session lives
    and ends with the other.
    """

    def __init__(
        self, links: dict[str, ConsumerLink], publishing: Publishing, watch: Watch, timeout_seconds: float
    ) -> None:
        self._by_role = links
        self._publishing = publishing
        self.watch = watch
        self._timeout_seconds = timeout_seconds
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def _links(self) -> Iterable[ConsumerLink]:
        return self._by_role.values()

    @property
    def consuming(self) -> bool:
        """Whether every queue is consumed."""
        return bool(self._by_role) and all(link.consuming for link in self._links)

    @property
    def refused(self) -> str:
        """Why copies are not taken by the broker; empty while they are."""
        return self._publishing.reason

    @property
    def unsettled(self) -> int:
        return sum(link.unsettled for link in self._links)

    @property
    def unsettled_by_role(self) -> dict[str, int]:
        """Of the queues `write`, `query` and `suspect`, by these words; none on a channel that is gone."""
        return {role: link.unsettled if link.alive else 0 for role, link in self._by_role.items()}

    def end(self, reason: str) -> None:
        """From now on nothing is settled through this session."""
        for link in self._links:
            link.end()
        self._publishing.end(reason)
        if not self.ended.done():
            self.ended.set_result(reason)

    async def stop_consuming(self, *queues: str) -> None:
        """Of these queues, or of all. Raises BrokerUnavailable."""
        with lost():
            chosen = [link for link in self._links if not queues or link.queue in queues]
            await asyncio.gather(*(link.stop_consuming(self._timeout_seconds) for link in chosen))

    async def resume_consuming(self) -> None:
        """Of whatever was stopped. Raises BrokerUnavailable."""
        with lost():
            await asyncio.gather(*(link.resume_consuming(self._timeout_seconds) for link in self._links))

    async def suspect(self) -> Delivery | None:
        """One message out of quarantine, or None when there is none. Raises BrokerUnavailable."""
        with lost():
            return await self._by_role["suspect"].take_one(self._timeout_seconds)

    async def suspect_settled(self) -> bool:
        """Whether none is in our hands. Raises BrokerUnavailable."""
        link = self._by_role["suspect"]
        with lost():
            await link.flush()
        return not link.unsettled

    async def flush(self) -> None:
        """Sends every acknowledgement, and hands back what was released. Raises BrokerUnavailable."""
        with lost():
            for link in self._links:
                await link.flush(requeued=True)


@asynccontextmanager
async def open_session(brokers: Brokers, options: SessionOptions, accept: Accept) -> AsyncGenerator[Session]:
    """Connects, declares, consumes. Raises ConfigurationError or BrokerUnavailable."""
    topology, timeout = options.topology, options.timeout_seconds
    async with AsyncExitStack() as stack:
        published = await stack.enter_async_context(publishing(brokers, topology, options.declare, timeout))
        consuming = await stack.enter_async_context(brokers.connect("consume"))
        links: dict[str, ConsumerLink] = {}
        session = Session(links, published, Watch(consuming, published, timeout), timeout)
        stack.callback(session.end, "closed")
        published.ended.add_done_callback(lambda ended: session.end(ended.result()))
        consuming.close_callbacks.add(_ending(session, "connection closed"))
        with lost():
            for role, prefetch in options.prefetch_by_role.items():
                queue = getattr(topology.names, role)
                link = links[role] = ConsumerLink(await _channel(consuming, session), queue, published, session.end)
                if role != "suspect":
                    await link.consume(prefetch, accept, frames=frames_of(consuming), timeout=timeout)
        yield session


def _ending(session: Session, reason: str) -> Callable[..., None]:
    def end(*_: object) -> None:
        session.end(reason)

    return end


async def _channel(connection: AbstractConnection, session: Session) -> AbstractChannel:
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    channel.close_callbacks.add(_ending(session, "channel closed"))
    return await channel.get_underlay_channel()
