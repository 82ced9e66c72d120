import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from memq_amqp.tasks import stopped

from memq_schemas import ErrorCode, headers
from memq_schemas.tenants import SHARED_BULK
from memq_schemas.topology import BULK
from memq_worker.errors import DependencyError, MessageError, StoreOutage, WorkerError
from memq_worker.pipeline import lines
from memq_worker.pipeline.answer import Answerer
from memq_worker.pipeline.command import Request, Write
from memq_worker.pipeline.contracts import Contracts
from memq_worker.pipeline.decode.bodies import decode, operation_of
from memq_worker.pipeline.delivery import Deadlines, Delivery
from memq_worker.pipeline.diagnosis import Diagnosis
from memq_worker.pipeline.hold import Hold, Holds, Reins
from memq_worker.pipeline.limits.report import LimitReport
from memq_worker.pipeline.limits.stored_points import StoredPoints
from memq_worker.pipeline.options import PipelineOptions
from memq_worker.pipeline.outcome import Expire, Outcome, Quarantine, Refuse, Release, decide
from memq_worker.pipeline.ports import Observer, Tracing
from memq_worker.pipeline.scheduler import Round, Scheduler
from memq_worker.pipeline.settle import Settler
from memq_worker.pipeline.store import Store
from memq_worker.pipeline.tenants import Tenants
from memq_worker.pipeline.window import Window
from memq_worker.pipeline.write import CollectionWriter, WriterParts

logger = logging.getLogger(__name__)

# A write that was given out twice before and never settled may be what kills the workers that take it.
_SUSPECT_AFTER = 2
_QUESTION_SECONDS = 2.0  # a store that does not answer a question within this time is unavailable
# Moved aside it loses its place among the writes of its ids, so with strict order a few lost connections do not do it.
_SUSPECT_AFTER_IN_ORDER = 5


class Pipeline:
    """Path of a delivery to its settlement: decode, then batch and write, or answer. Outlives connections."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        options: PipelineOptions,
        tracing: Tracing | None = None,
        tenants: Tenants | None = None,
    ) -> None:
        self._observer = observer
        self.options = options
        reins = Reins()
        self.hold = Hold(observer, catches=StoreOutage, reins=reins)
        diagnosis = Diagnosis(store, min(_QUESTION_SECONDS, options.request_timeout_seconds / 2))
        self.tenants = tenants = tenants or Tenants()
        spaces = tenants.spaces
        stored_points = StoredPoints(store, spaces, tenants.allowances)
        contracts = Contracts(store, stored_points)
        self._settler = Settler(
            options.names, options.worker, observer, options.reply_to, tracing, options.replies, spaces
        )
        report = LimitReport(options.names, tenants.allowances, stored_points)
        self._answerer = Answerer(
            store, self._settler, self.hold, contracts, options.request_timeout_seconds, tracing, spaces, report
        )
        self._deadlines = Deadlines(broker_timestamp=options.broker_timestamp)
        self._beside_lanes = options.names.beside_lanes
        self._suspect_after = _SUSPECT_AFTER_IN_ORDER if options.retries.in_place else _SUSPECT_AFTER
        self.round = Round(options.batches.max_points, {BULK: options.bulk_weight, SHARED_BULK: options.bulk_weight})
        self.parts = WriterParts(
            store=store,
            settler=self._settler,
            holds=Holds(self.hold, reins, diagnosis, Window(options.held, diagnosis)),
            contracts=contracts,
            scheduler=Scheduler(options.store_writes, self.round),
            observer=observer,
            tracing=tracing,
            settle=self._settle_later,
            idle=self._let_go,
        )
        self.writers: dict[str, CollectionWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self.stirred = asyncio.Event()
        self.waiting: list[Delivery] | None = None
        """Writes that arrive while a suspect is tried; None while none is."""
        self.removed: frozenset[str] = frozenset()
        """Tenants that are removed: what is left of theirs is discarded."""

    @property
    def held(self) -> str:
        """Why writes wait for the store; empty while they do not."""
        return self.hold.error.message if self.hold.error is not None else ""

    @property
    def writing(self) -> bool:
        """Return True if a write is under way or not yet settled. `stirred` is set whenever one has ended."""
        return bool(self.writers or self._settling)

    def accept(self, delivery: Delivery) -> None:
        """Takes charge of a delivery. Returns at once; never raises for what is in the message."""
        in_lane = delivery.queue not in self._beside_lanes
        if self.waiting is not None and in_lane:
            self.waiting.append(delivery)
            return
        given = delivery.properties.headers
        # Most messages have the producer's time of sending and nothing else.
        headed = bool(given) and not (len(given) == 1 and headers.SENT in given)
        if delivery.tenant is not None and delivery.tenant in self.removed:
            lines.discarded(delivery)
            self._settle_later(delivery, Expire())
            return
        if headed and in_lane and delivery.deliveries >= self._suspect_after:
            self._settle_later(delivery, Quarantine())
            return
        try:
            if headed and self._expired(delivery):
                self._settle_later(delivery, Expire())
                return
            if delivery.properties.reply_to:
                self.options.reply_to.check(delivery)
            if delivery.tenant is None:
                command = decode(delivery, self.options.limits)
            else:
                command = self.tenants.command(delivery, delivery.tenant, self.options.limits)
            delivery.times.decoded = time.perf_counter()
        except WorkerError as error:
            self._settle_later(delivery, self._refusal(delivery, error))
        except Exception as error:
            logger.exception("unexpected error while decoding", extra={"queue": delivery.queue})
            wrapped = DependencyError(ErrorCode.UNEXPECTED, f"unexpected {type(error).__name__}", stage="decode")
            self._settle_later(delivery, self._refusal(delivery, wrapped))
        else:
            self._dispatch(command)

    def _expired(self, delivery: Delivery) -> bool:
        """Read the deadline of a delivery. Return True if it has passed; raise MessageError if it is none."""
        now = time.time()
        delivery.deadline, late = self._deadlines.of(delivery.properties, first=delivery.first, now=now)
        if late:
            self._observer.skewed()
            lines.clock_skewed(delivery, late)
        return delivery.deadline is not None and delivery.deadline <= now

    def _refusal(self, delivery: Delivery, error: WorkerError) -> Outcome:
        try:
            is_write = operation_of(delivery)[0].is_write
        except MessageError:
            is_write = not self.options.names.is_request(delivery.queue)
        return decide(error, delivery.attempt, self.options.retries) if is_write else Refuse(error)

    def _dispatch(self, command: Write | Request) -> None:
        if isinstance(command, Request):
            self.tenants.answering(command.delivery, self._spawn(self._answer(command)))
            return
        writer = self.writers.get(command.collection) or self._new_writer(command.collection)
        writer.add(command)

    async def _answer(self, request: Request) -> None:
        if (tenant := request.delivery.tenant) is None:
            await self._answerer.answer(request)
        else:
            async with self.tenants.turns.turn(tenant):
                await self._answerer.answer(request)

    def _new_writer(self, collection: str) -> CollectionWriter:
        self.writers[collection] = writer = CollectionWriter(collection, self.parts, self.options)
        return writer

    def _let_go(self, collection: str) -> None:
        # Collections come and go, and anybody can name one in a routing key: idle writers are not kept.
        self.writers.pop(collection, None)
        self.stirred.set()

    def _settle_later(self, delivery: Delivery, outcome: Outcome) -> asyncio.Task[None]:
        task = self._spawn(self._settler.settle(delivery, outcome))
        if not self.options.names.is_request(delivery.queue):
            self._settling.add(task)
            task.add_done_callback(self._settled)
        return task

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        self.stirred.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)
        return task

    async def release(self, unwanted: Callable[[Write], bool]) -> None:
        """Release the writes that were not begun: those that wait for a suspect, and the unwanted of the others."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for delivery in waiting:
                await self._settler.settle(delivery, Release())
        for writer in list(self.writers.values()):
            for command in writer.remove(unwanted):
                await self._settler.settle(command.delivery, Release())

    async def discard(self, tenants: frozenset[str]) -> None:
        """Discard the messages of removed tenants: the writes that were not begun, and all that come later."""
        before, self.removed = self.removed, tenants
        if tenants <= before:
            return
        for writer in list(self.writers.values()):
            for command in writer.remove(lambda command: command.delivery.tenant in tenants):
                lines.discarded(command.delivery)
                await self._settler.settle(command.delivery, Expire())

    async def release_tenants(self) -> None:
        """Hand back the writes of tenants that were not begun. Their consumers have to be stopped before."""
        await self.release(lambda command: command.delivery.tenant is not None)

    def look_again(self) -> None:
        """Abandon held writes that have become unwanted."""
        for writer in self.writers.values():
            writer.held.look_again()

    async def forget_dead(self) -> None:
        """Drops what waits on a channel that is gone: the broker delivers it again."""
        self.hold.look_again()
        self.look_again()
        await self.release(lambda command: not command.delivery.link.alive)

    async def drain(self) -> None:
        """Hands back what was not begun, and waits until everything begun is settled."""
        self.hold.stop()
        self.look_again()
        await self.release(lambda _: True)
        for writer in list(self.writers.values()):
            await writer.drained()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Stops at once; what is unsettled stays so, and the broker delivers it again."""
        for writer in self.writers.values():
            writer.cancel()
        await stopped(*self._tasks)
