import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from memq_amqp import Connection, Lost, stop
from memq_amqp.refusals import Kind

from memq_schemas.tenants import Whose, lane_owner
from memq_schemas.topology import LIVE
from memq_worker.amqp.byte_pause import BytePause
from memq_worker.amqp.connection import Brokers
from memq_worker.amqp.failure import lost
from memq_worker.amqp.lane_pause import LanePause, PacedPrefetch
from memq_worker.amqp.link import Accept, ConsumerLink
from memq_worker.amqp.permissions import denied
from memq_worker.amqp.prefetch import Budget, Prefetch
from memq_worker.amqp.publishing import Publishing, publishing
from memq_worker.amqp.replies import Replies
from memq_worker.amqp.session_options import SessionOptions
from memq_worker.amqp.tenant_lanes import TenantLanes
from memq_worker.amqp.watch import Watch
from memq_worker.errors import BrokerUnavailable
from memq_worker.pipeline.delivery import Delivery

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 2.0


class Session:
    """One life of our two connections to the broker: from declared and consuming to lost or closed.

    Publishing has a connection of its own, since the broker stops reading from one that publishes when it is short of
    memory or disk, and acknowledgements have to get through then. That connection may be replaced; the session lives
    and ends with the other.
    """

    def __init__(
        self,
        consuming: Connection,
        publishing: Publishing,
        replies: Replies,
        options: SessionOptions,
        accept: Accept,
    ) -> None:
        self.watch = Watch(consuming, publishing, options.timeout_seconds)
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.down: frozenset[str] = frozenset()
        self._consuming = consuming
        self._publishing = publishing
        self._replies = replies
        self._options = options
        self._accept = accept
        self._whose = Whose(options.topology.names)
        self._by_role: dict[str, ConsumerLink] = {}
        most, seconds = options.prefetch_bytes, options.timeout_seconds
        self._pause = None if most is None else BytePause(most, self.watch.depth, seconds, self.end)
        self._budget = None if self._pause is None else Budget(self._pause)
        self.tenants = TenantLanes(
            options.topology.names,
            self.watch,
            self._opened,
            options.prefetch,
            options.tenants_request_prefetch,
            self._budget,
        )
        self._return: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection:
        """The connection that consumes."""
        return self._consuming

    @property
    def _links(self) -> Iterable[ConsumerLink]:
        return [*self._by_role.values(), *self.tenants]

    @property
    def consuming(self) -> bool:
        """Return True if every queue of the operator is consumed."""
        return bool(self._by_role) and not self.down and all(link.consuming for link in self._by_role.values())

    @property
    def refused(self) -> str:
        """Why copies are not taken by the broker; empty while they are."""
        return self._publishing.reason

    @property
    def unsettled(self) -> int:
        return sum(link.unsettled for link in self._links)

    @property
    def unsettled_by_role(self) -> dict[str, int]:
        """Unsettled deliveries by role; 0 on a channel that is gone."""
        return {role: link.unsettled if link.alive else 0 for role, link in self._by_role.items()}

    @property
    def prefetch_by_role(self) -> dict[str, int]:
        """Prefetch limits by role."""
        return {role: link.prefetch for role, link in self._by_role.items()}

    async def start(self) -> None:
        """Declares and consumes. A queue whose node is down is left out, and taken up when it is back.

        Raises ConfigurationError or BrokerUnavailable.
        """
        await self._take_up()
        if self.down:
            logger.warning("queues unavailable, node down", extra={"queues": sorted(self.down)})
            self._return = asyncio.create_task(self._await_return())

    async def _take_up(self) -> None:
        down, prefix = self._publishing.down, self._options.topology.names.prefix
        with lost():
            for role, prefetch in self._options.prefetch_by_role(self._budget).items():
                queue = f"{prefix}.{role}"
                if role not in self._by_role and queue not in down:
                    await self._consume(role, queue, prefetch)
        self.down = down

    async def _consume(self, role: str, queue: str, prefetch: Prefetch) -> None:
        self._by_role[role] = link = await self._link(queue, self._options.lanes.get(role, LIVE))
        if role != "suspect":
            lane = role in self._options.lanes
            await self._begin(link, prefetch, self._accept, yields=role != "write" if lane else None)

    async def _opened(self, queue: str, lane: str, prefetch: Prefetch) -> ConsumerLink:
        link = await self._link(queue, lane)
        account = partial(self._options.account, lane)
        pause = LanePause(link, account, self._options.timeout_seconds)

        def accept(delivery: Delivery) -> None:
            self._accept(delivery)
            pause.check()

        own, opened = lane_owner(lane) is not None, False
        try:
            window = PacedPrefetch(prefetch, account) if own else prefetch
            yields = None if self._options.topology.names.is_request(queue) else True
            await self._begin(link, window, accept if own else self._accept, yields=yields)
            opened = not self.ended.done()
        finally:
            if not opened:
                link.end()  # the session does not know it yet, so its end does not reach it
        return link

    async def _link(self, queue: str, lane: str) -> ConsumerLink:
        channel = await self._consuming.channel()
        link = ConsumerLink(channel, queue, self._publishing, self._replies, self.end, self._whose, lane=lane)
        channel.on_close(_closing(self, link))
        return link

    async def _begin(self, link: ConsumerLink, prefetch: Prefetch, accept: Accept, *, yields: bool | None) -> None:
        """yields: the lane may be paused by the bytes that the worker holds; None for a queue that is no lane."""
        counted = None if self._pause is None or yields is None else self._pause.add(link, yields=yields)
        try:
            await link.consume(prefetch, accept, timeout=self._options.timeout_seconds, bytes_of=counted)
        except Lost as error:
            if error.kind is Kind.PERMISSION:
                raise denied("read", "queue", link.queue, error.refusal) from error
            raise

    async def _await_return(self) -> None:
        try:
            while self.down:
                await asyncio.sleep(_AGAIN_SECONDS)
                await self._publishing.declare()
                await self._take_up()
            logger.info("queues available again")
        except BrokerUnavailable as error:
            self.end(str(error))
        except Exception as error:
            logger.exception("unexpected error while waiting for a queue")
            self.end(f"unexpected {type(error).__name__}")

    def end(self, reason: str) -> None:
        """End the session; nothing is settled through it afterwards."""
        self._wait_no_longer()
        if self._pause is not None:
            self._pause.end()
        for link in self._links:
            link.end()
        self._publishing.end(reason)
        if not self.ended.done():
            self.ended.set_result(reason)

    def _wait_no_longer(self) -> None:
        if self._return is not None and self._return is not asyncio.current_task():
            stop(self._return)

    async def stop_consuming(self, *queues: str) -> None:
        """Stop consuming these queues, or all of them permanently. Raises BrokerUnavailable."""
        if self._pause is not None:
            self._pause.stopped = True
        if not queues:
            self._wait_no_longer()
            self._replies.drain()
        with lost():
            chosen = [link for link in self._links if not queues or link.queue in queues]
            await asyncio.gather(*(link.stop_consuming(self._options.timeout_seconds) for link in chosen))

    async def stop_writes(self) -> None:
        """Stop consuming every lane, until resumed. Raises BrokerUnavailable."""
        lanes, names = self._options.lanes, self._options.topology.names
        queues = [link.queue for role, link in self._by_role.items() if role in lanes]
        queues += [link.queue for link in self.tenants.consumed if not names.is_request(link.queue)]
        await self.stop_consuming(*queues)

    async def resume_consuming(self) -> None:
        """Resume the stopped consumers. Raises BrokerUnavailable."""
        with lost():
            links = [*self._by_role.values(), *self.tenants.consumed]
            await asyncio.gather(*(link.resume_consuming(self._options.timeout_seconds) for link in links))
        if self._pause is not None:
            self._pause.go_on()

    async def serve_tenants(self, lanes: Mapping[str, str]) -> list[str]:
        """Consume these queues of tenants, given with their lanes, and no others. Return those that do not exist.

        Raises BrokerUnavailable and ConfigurationError.
        """
        with lost():
            return await self.tenants.serve(lanes, self._options.timeout_seconds)

    async def suspect(self) -> Delivery | None:
        """One message out of quarantine, or None when there is none. Raises BrokerUnavailable."""
        with lost():
            return await self._by_role["suspect"].take_one(self._options.timeout_seconds)

    async def suspect_settled(self) -> bool:
        """Return True if no suspect is unsettled here. Raises BrokerUnavailable."""
        link = self._by_role["suspect"]
        with lost():
            await link.flush()
        return not link.unsettled

    async def flush(self) -> None:
        """Sends every acknowledgement, and hands back what was released. Raises BrokerUnavailable."""
        with lost():
            await asyncio.gather(*(link.flush_all(self._options.timeout_seconds) for link in self._links))


@asynccontextmanager
async def open_session(brokers: Brokers, options: SessionOptions, accept: Accept) -> AsyncGenerator[Session]:
    """Connects, declares, consumes. Raises ConfigurationError or BrokerUnavailable."""
    async with AsyncExitStack() as stack:
        published = await stack.enter_async_context(
            publishing(brokers, options.topology, options.declare, options.timeout_seconds)
        )
        consuming = await stack.enter_async_context(brokers.connect("consume"))
        if options.admit is not None:
            await options.admit(consuming)
        replies = Replies(brokers, options.timeout_seconds, published.ended)
        stack.push_async_callback(replies.close)
        session = Session(consuming, published, replies, options, accept)
        stack.callback(session.end, "closed")
        published.ended.add_done_callback(lambda ended: session.end(ended.result()))
        consuming.on_close(lambda lost: session.end(str(lost)))
        await session.start()
        yield session


def _closing(session: Session, link: ConsumerLink) -> Callable[[Lost], None]:
    def closed(lost: Lost) -> None:
        if link.alive:  # one that has left is closed on purpose
            session.end(str(lost))

    return closed
