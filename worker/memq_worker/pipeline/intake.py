import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from memq_amqp.tasks import stopped

from memq_schemas import ErrorCode, headers
from memq_schemas.tenants import SHARED_BULK
from memq_schemas.topology import BULK
from memq_worker.errors import DependencyError, MessageError, Outage, StoreOutage, WorkerError
from memq_worker.pipeline import lines
from memq_worker.pipeline.answer import Answerer
from memq_worker.pipeline.command import Request, Write
from memq_worker.pipeline.contracts import Contracts
from memq_worker.pipeline.decode.bodies import decode, operation_of
from memq_worker.pipeline.delivery import Deadlines, Delivery
from memq_worker.pipeline.diagnosis import Diagnosis
from memq_worker.pipeline.hold import QUESTION, Abandoned, HandedBack, Hold, Holds, Reins
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
_STILL_SECONDS = 5.0
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
        self._store = store
        self._observer = observer
        self._options = options
        reins = Reins()
        self._hold = Hold(observer, catches=StoreOutage, reins=reins)
        self._diagnosis = Diagnosis(store, min(_QUESTION_SECONDS, options.request_timeout_seconds / 2))
        self.tenants = tenants = tenants or Tenants()
        spaces = tenants.spaces
        stored_points = StoredPoints(store, spaces, tenants.allowances)
        contracts = Contracts(store, stored_points)
        self._settler = Settler(
            options.names, options.worker, observer, options.reply_to, tracing, options.replies, spaces
        )
        report = LimitReport(options.names, tenants.allowances, stored_points)
        self._answerer = Answerer(
            store, self._settler, self._hold, contracts, options.request_timeout_seconds, tracing, spaces, report
        )
        self._deadlines = Deadlines(broker_timestamp=options.broker_timestamp)
        self._beside_lanes = options.names.beside_lanes
        self._suspect_after = _SUSPECT_AFTER_IN_ORDER if options.retries.in_place else _SUSPECT_AFTER
        self.round = Round(options.batches.max_points, {BULK: options.bulk_weight, SHARED_BULK: options.bulk_weight})
        self._writing = WriterParts(
            store=store,
            settler=self._settler,
            holds=Holds(self._hold, reins, self._diagnosis, Window(options.held, self._diagnosis)),
            contracts=contracts,
            scheduler=Scheduler(options.store_writes, self.round),
            observer=observer,
            tracing=tracing,
            settle=self._settle_later,
            idle=self._let_go,
        )
        self._writers: dict[str, CollectionWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._stirred = asyncio.Event()
        self._waiting: list[Delivery] | None = None  # writes, while a suspect is tried
        self.removed: frozenset[str] = frozenset()
        """Tenants that are removed: what is left of theirs is discarded."""

    @property
    def held(self) -> str:
        """Why writes wait for the store; empty while they do not."""
        return self._hold.error.message if self._hold.error is not None else ""

    def accept(self, delivery: Delivery) -> None:
        """Takes charge of a delivery. Returns at once; never raises for what is in the message."""
        in_lane = delivery.queue not in self._beside_lanes
        if self._waiting is not None and in_lane:
            self._waiting.append(delivery)
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
                self._options.reply_to.check(delivery)
            if delivery.tenant is None:
                command = decode(delivery, self._options.limits)
            else:
                command = self.tenants.command(delivery, delivery.tenant, self._options.limits)
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
            is_write = not self._options.names.is_request(delivery.queue)
        return decide(error, delivery.attempt, self._options.retries) if is_write else Refuse(error)

    def _dispatch(self, command: Write | Request) -> None:
        if isinstance(command, Request):
            self.tenants.answering(command.delivery, self._spawn(self._answer(command)))
            return
        writer = self._writers.get(command.collection) or self._new_writer(command.collection)
        writer.add(command)

    async def _answer(self, request: Request) -> None:
        if (tenant := request.delivery.tenant) is None:
            await self._answerer.answer(request)
        else:
            async with self.tenants.turns.turn(tenant):
                await self._answerer.answer(request)

    def _new_writer(self, collection: str) -> CollectionWriter:
        self._writers[collection] = writer = CollectionWriter(collection, self._writing, self._options)
        return writer

    def _let_go(self, collection: str) -> None:
        # Collections come and go, and anybody can name one in a routing key: idle writers are not kept.
        self._writers.pop(collection, None)
        self._stirred.set()

    def _settle_later(self, delivery: Delivery, outcome: Outcome) -> asyncio.Task[None]:
        task = self._spawn(self._settler.settle(delivery, outcome))
        if not self._options.names.is_request(delivery.queue):
            self._settling.add(task)
            task.add_done_callback(self._settled)
        return task

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        self._stirred.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)
        return task

    @asynccontextmanager
    async def others_wait(self) -> AsyncGenerator[None]:
        """Begins when no write is under way, and keeps those that arrive until its end.

        What has been under way for long, such as one that waits in its place for its next attempt, is not waited for.
        """
        self._waiting = []
        try:
            await self._still()
            yield
        finally:
            waiting, self._waiting = self._waiting, None
            for delivery in waiting:
                if delivery.link.alive:
                    self.accept(delivery)

    async def _still(self) -> None:
        done, began = asyncio.create_task(self.writes_done(_STILL_SECONDS)), asyncio.create_task(self.outage())
        try:
            await asyncio.wait({done, began}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stopped(done, began)

    async def writes_done(self, seconds: float) -> None:
        """Returns once no write is under way, every one settled, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._writers or self._settling:
                    self._stirred.clear()
                    await self._stirred.wait()

    async def _release(self, unwanted: Callable[[Write], bool]) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for delivery in waiting:
                await self._settler.settle(delivery, Release())
        for writer in list(self._writers.values()):
            for command in writer.remove(unwanted):
                await self._settler.settle(command.delivery, Release())

    async def release_tenants(self) -> None:
        """Hand back the writes of tenants that were not begun. Their consumers have to be stopped before."""
        await self._release(lambda command: command.delivery.tenant is not None)

    def _look_again(self) -> None:
        for writer in self._writers.values():
            writer.held.look_again()

    async def outage(self) -> None:
        """Returns once the store is held."""
        await self._hold.began.wait()

    async def hand_back(self, which: HandedBack) -> None:
        """Release held writes, all or the suspects alone, and those that fail later, until told "none".

        Stop their consumers before, or the broker delivers them again at once.
        """
        self._hold.hand_back(which)
        self._look_again()
        if which == "all":
            await self._release(lambda _: True)
            for writer in list(self._writers.values()):
                await writer.drained()

    async def store_back(self, wanted: Callable[[], bool]) -> None:
        """Returns once the store takes writes, asking it with one that changes nothing, or once unwanted."""
        collection = next(iter(self._writers), None)

        async def ask() -> None:
            try:
                if collection is None:
                    await self._store.list_collections(self._options.request_timeout_seconds)
                else:
                    await self._diagnosis.ask(collection)
            except Outage as error:
                raise StoreOutage.of(error) from error

        # Whoever answers with a refusal is back as well; a write that is held is the better question, so it goes first.
        with suppress(Abandoned, WorkerError):
            await self._hold.through(ask, wanted, size=QUESTION)
        if self._options.retries.in_place:
            for writer in list(self._writers.values()):
                await writer.held.back(wanted)

    async def forget_dead(self) -> None:
        """Drops what waits on a channel that is gone: the broker delivers it again."""
        self._hold.look_again()
        self._look_again()
        await self._release(lambda command: not command.delivery.link.alive)

    async def drain(self) -> None:
        """Hands back what was not begun, and waits until everything begun is settled."""
        self._hold.stop()
        self._look_again()
        await self._release(lambda _: True)
        for writer in list(self._writers.values()):
            await writer.drained()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Stops at once; what is unsettled stays so, and the broker delivers it again."""
        for writer in self._writers.values():
            writer.cancel()
        await stopped(*self._tasks)
