import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping

from memq_schemas import Names
from memq_worker.amqp.link import ConsumerLink
from memq_worker.amqp.prefetch import Budget, Prefetch
from memq_worker.amqp.watch import Unseen, Watch

logger = logging.getLogger(__name__)

Open = Callable[[str, str, Prefetch], Awaitable[ConsumerLink]]


class TenantLanes:
    """Consumers of the tenants' queues in one session. Queues come and go while the session lives."""

    def __init__(
        self, names: Names, watch: Watch, open_link: Open, prefetch: int, request_prefetch: int, budget: Budget | None
    ) -> None:
        """open_link: begins to consume a queue in a lane."""
        self._names = names
        self._watch = watch
        self._open = open_link
        self._prefetch = prefetch
        self._request_prefetch = request_prefetch
        self._budget = budget
        self._by_queue: dict[str, ConsumerLink] = {}
        self._leaving: list[ConsumerLink] = []
        self._changing = asyncio.Lock()

    def __iter__(self) -> Iterator[ConsumerLink]:
        """Every link with a consumer, or with deliveries that are not settled yet."""
        yield from self._by_queue.values()
        yield from self._leaving

    @property
    def consumed(self) -> list[ConsumerLink]:
        return list(self._by_queue.values())

    async def serve(self, lanes: Mapping[str, str], timeout: float) -> list[str]:
        """Consume these queues, given with their lanes, and no others. Return the queues that do not exist.

        What was received from another queue is settled as usual. Raises BrokerUnavailable.
        """
        async with self._changing:
            for queue in [queue for queue in self._by_queue if queue not in lanes]:
                self._leaving.append(link := self._by_queue.pop(queue))
                await link.stop_consuming(timeout)
            missing: list[str] = []
            for queue, lane in lanes.items():
                if queue in self._by_queue:
                    continue
                try:
                    await self._watch.depth(queue)
                except Unseen:
                    missing.append(queue)
                else:
                    self._by_queue[queue] = await self._open(queue, lane, self._window(queue, len(lanes)))
            await self._close_settled(timeout)
            return missing

    def _window(self, queue: str, lanes: int) -> Prefetch:
        if self._names.is_request(queue):
            return Prefetch(self._request_prefetch)
        return Prefetch(self._prefetch, self._budget, lanes=lanes)

    async def _close_settled(self, timeout: float) -> None:
        for link in [link for link in self._leaving if not link.unsettled]:
            self._leaving.remove(link)
            await link.close(timeout)
