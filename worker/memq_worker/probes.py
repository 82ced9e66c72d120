import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from memq_schemas import Names
from memq_worker.amqp.watch import Depth, Unseen, Watch
from memq_worker.errors import BrokerUnavailable, WorkerError
from memq_worker.observe.ages import Ages
from memq_worker.observe.catalogue import MOST_TENANTS, QUEUES
from memq_worker.observe.health import Health
from memq_worker.observe.metrics import Metrics

_EVERY_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0


class Probes:
    """Asks Qdrant and RabbitMQ every few seconds whether they answer, and RabbitMQ how much waits in its queues.

    queues: whether to look at all of them, as one worker of a pool does for all.   lanes: returns the queues of tenants
    with lanes of their own, by tenant.
    """

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        names: Names,
        lanes: Callable[[], Mapping[str, Iterable[str]]] = dict,
        *,
        queues: bool,
    ) -> None:
        self._lanes = lanes
        self._health = health
        self._metrics = metrics
        self._names = names
        self._queues = queues
        self._ages = Ages(metrics.published)

    async def store(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Probe until cancelled."""
        while True:
            started = time.perf_counter()
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await ask()
            except TimeoutError:
                self._health.failed("qdrant", f"no answer within {_PATIENCE_SECONDS:g} s")
            except WorkerError as error:
                self._health.failed("qdrant", error.message)
            else:
                self._health.passed("qdrant", time.perf_counter() - started)
            await self._pause("qdrant")

    async def broker(self, watch: Watch) -> None:
        """Probe until cancelled, when the session of `watch` ends."""
        await asyncio.gather(self._looks(watch), self._blocked(watch))

    async def _looks(self, watch: Watch) -> None:
        while True:
            started = time.perf_counter()
            try:
                with suppress(Unseen):
                    await watch.depth(self._names.write)
                self._health.passed("rabbitmq", time.perf_counter() - started)
                if self._queues:
                    await self._look_at_all(watch)
                    await watch.exchanges.look()
            except BrokerUnavailable as error:
                self._health.failed("rabbitmq", str(error))
            await self._pause("rabbitmq")

    async def _pause(self, name: str) -> None:
        # Who waits for it to be back wants to know soon.
        await asyncio.sleep(_EVERY_SECONDS if self._health.up(name) else _AGAIN_SECONDS)

    async def _look_at_all(self, watch: Watch) -> None:
        for role in QUEUES:
            queue = f"{self._names.prefix}.{role}"
            depth = await self._depth(watch, role, queue)
            with suppress(Unseen):
                if role == "dead" and self._ages.wants_head(depth.messages):
                    self._ages.peeked()  # also if it may not be read: then it is not asked again each time
                    head = await watch.head(queue)
                    self._ages.head(head.published, head.looks)
            age = self._ages.age(role, queue, depth.messages)
            self._metrics.queue(role, depth.messages, depth.consumers, age)
        for tenant, queues in itertools.islice(self._lanes().items(), MOST_TENANTS):
            self._metrics.tenant_queue(tenant, (await self._total(watch, queues)).messages)
        self._metrics.slot.looked()

    async def _depth(self, watch: Watch, role: str, queue: str) -> Depth:
        """Messages and consumers of a role; of a retry tier in both of its queues. 0 for a queue that is not shown."""
        retry = role.startswith("retry.")
        return await self._total(watch, (queue, f"{self._names.internal}.{role}") if retry else (queue,))

    async def _total(self, watch: Watch, queues: Iterable[str]) -> Depth:
        messages = consumers = 0
        for each in queues:
            with suppress(Unseen):
                depth = await watch.depth(each)
                messages += depth.messages
                consumers += depth.consumers
        return Depth(messages, consumers)

    async def _blocked(self, watch: Watch) -> None:
        try:
            while True:
                with suppress(BrokerUnavailable):
                    if await watch.blocked():
                        self._metrics.blocked(True)
                        await watch.unblocked()
                self._metrics.blocked(False)
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            self._metrics.blocked(False)
