import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from memq_amqp.tasks import stop

from memq_schemas import ErrorCode
from memq_worker.errors import DependencyError, MessageError, Outage, Throttled, WorkerError
from memq_worker.pipeline import lines
from memq_worker.pipeline.apply import apply
from memq_worker.pipeline.batch import Batch, WriteQueue
from memq_worker.pipeline.command import RemoveVectors, ReplaceVectors, UpsertPoints, Write
from memq_worker.pipeline.contracts import Contracts
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.held_collection import HeldCollection
from memq_worker.pipeline.hold import Abandoned, Holds
from memq_worker.pipeline.options import PipelineOptions
from memq_worker.pipeline.outcome import Done, Outcome, Release, Retry, decide, partly_stored
from memq_worker.pipeline.ports import Observer, Reason, Tracing
from memq_worker.pipeline.scheduler import Place, Scheduler
from memq_worker.pipeline.settle import Settler
from memq_worker.pipeline.store import Store

logger = logging.getLogger(__name__)

# A copy that the broker does not take for now, such as one for a full queue, keeps later writes waiting no longer.
_COPY_SECONDS = 1.0
_NONE: frozenset[Write] = frozenset()
# Nothing is gained from writing half of a batch: every message of it is refused alike.
_ALIKE = frozenset({ErrorCode.UNKNOWN_COLLECTION, ErrorCode.FORBIDDEN, ErrorCode.QUOTA_EXCEEDED})
# Refusals that a contract of the collection as it is now would have prevented.
_OUTDATED = frozenset({ErrorCode.UNKNOWN_COLLECTION, ErrorCode.UNKNOWN_VECTOR, ErrorCode.WRONG_DIMENSION})


@dataclass(frozen=True, slots=True)
class WriterParts:
    """Parts that the writers of all collections share.

    settle: begins to settle a delivery.   idle: is told the collection of a writer that has nothing left to do.
    """

    store: Store
    settler: Settler
    holds: Holds
    contracts: Contracts
    scheduler: Scheduler
    observer: Observer
    tracing: Tracing | None
    settle: Callable[[Delivery, Outcome], asyncio.Task[None]]
    idle: Callable[[str], None]


class CollectionWriter:
    """Group commit for one collection: while writes are in flight arrivals gather, and the next write takes all it may.

    There is no linger timer. At low load a message is written at once; at high load batches grow by themselves. The
    scheduler decides when a write begins and which lane leads it.
    """

    def __init__(self, collection: str, parts: WriterParts, options: PipelineOptions) -> None:
        self._collection = collection
        self._store = parts.store
        self._settler = parts.settler
        self._hold = parts.holds.store
        self._throttles = parts.holds.throttles
        self._contracts = parts.contracts
        self._observer = parts.observer
        self._tracing = parts.tracing
        self._scheduler = parts.scheduler
        self._settle_later = parts.settle
        self._idle = parts.idle
        self._policy = options.retries
        self._writes_in_flight = options.writes_in_flight
        self._filter_cost = options.batches.max_points  # as a full batch: how many points it selects is not known
        self._queue = WriteQueue(options.batches)
        self.held = HeldCollection(
            collection, self._queue, parts.holds, parts.observer, options.writes_in_flight, parts.settle
        )
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, command: Write) -> None:
        if (outcome := self.held.elsewhere(command)) is not None:
            self.held.park(command, outcome)
            if self._queue.idle:
                self._idle(self._collection)
            return
        self._queue.add(command)
        self._scheduler.waiting(command.delivery.lane, self)

    def waits(self, lane: str) -> bool:
        return self._queue.waits(lane)

    def begin(self, lane: str, place: Place, *, next_in_line: bool, filter_allowed: bool) -> Mapping[str, int] | None:
        # A second write beside the first only where there is a full batch for it: smaller ones cost more than they
        # save, and what waits goes out as soon as the first is done.
        full = self._queue.full(small=place.small)
        if self._busy and (self._busy >= self._writes_in_flight or not full):
            return None
        batch = self._queue.take(lane, filter_allowed=filter_allowed, small=place.small)
        if batch is None:
            return None
        reason = "alone" if batch.alone else "full" if full else "next" if next_in_line else "idle"
        self._busy += 1
        task = asyncio.create_task(self._run(batch, reason, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        place.by_filter = batch.barrier
        return batch.cost_by_lane(self._filter_cost)

    def remove(self, unwanted: Callable[[Write], bool]) -> list[Write]:
        removed = self._queue.remove(unwanted)
        if self._queue.idle:
            self._idle(self._collection)
        return removed

    async def drained(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        for task in self._tasks:
            stop(task)

    async def _run(self, batch: Batch, reason: Reason, place: Place) -> None:
        began = time.perf_counter()
        for command in batch.commands:
            command.delivery.times.began = began
        if self._hold.error is not None or self.held.error is not None:
            place.release()  # it waits for the store first
        try:
            if self._tracing is None:
                await self._apply(batch.commands, reason, place)
            else:
                with self._tracing.write([command.delivery for command in batch.commands]):
                    await self._apply(batch.commands, reason, place)
        except Exception as error:
            # Whatever of ours went wrong, nothing may stay unsettled: it would fill the prefetch window for good.
            logger.exception("unexpected error after a write", extra={"messages": len(batch.commands)})
            for command in batch.commands:
                await self._settler.settle(command.delivery, decide(error, command.delivery.attempt, self._policy))
        finally:
            self._queue.finished(batch)
            self._busy -= 1
            self._scheduler.ended(place)
            if self._queue.idle:
                self._idle(self._collection)

    async def _apply(self, commands: list[Write], reason: Reason, place: Place) -> None:
        """Write the commands as one; what is refused as a whole is halved until the offender stands alone."""
        started = time.perf_counter()
        alone = commands[0].delivery.alone

        def wanted() -> bool:
            return self._hold.keeps(alone) and any(c.delivery.link.alive for c in commands)

        try:
            outcomes = await self.held.through(commands, wanted, lambda each: self._attempt(each, place), place)
        except Abandoned:
            outcomes = [self.held.abandoned(wanted()) for _ in commands]
        except WorkerError as error:
            if isinstance(error, Throttled):
                self._throttles.close(self._collection, error.retry_after_seconds)
            elif len(commands) > 1 and error.code not in _ALIKE:
                middle = len(commands) // 2
                await self._apply(commands[:middle], "split", place)
                await self._apply(commands[middle:], "split", place)
                return
            outcomes = [decide(error, c.delivery.attempt, self._policy) for c in commands]
            if self._policy.in_place and isinstance(again := outcomes[0], Retry):
                place.release()
                if await self._waited(commands, again, wanted):
                    await self._apply(commands, "retry", place)
                    return
                outcomes = [Release() for _ in commands]
        stored = time.perf_counter()
        for command in commands:
            command.delivery.times.stored = stored
        self._report(commands, outcomes, stored - started, reason)
        await self._settle(commands, outcomes, place)

    async def _attempt(self, commands: list[Write], place: Place) -> list[Outcome]:
        try:
            return await self._write(commands)
        except Outage:
            place.release()
            raise

    async def _waited(self, commands: list[Write], again: Retry, wanted: Callable[[], bool]) -> bool:
        """Wait for the next attempt in this place. Return False if the commands are to be released instead."""
        try:
            await self._hold.pause(again.seconds, wanted)
        except Abandoned:
            return False
        for command in commands:
            command.delivery.failed += again.spends
        return True

    async def _write(self, commands: list[Write]) -> list[Outcome]:
        try:
            return await self._write_current(commands)
        except (Abandoned, WorkerError):
            raise
        except Exception as error:
            # The one place where a defect of ours is caught: it must not take the neighbours or the worker with it.
            logger.exception("unexpected error in a write", extra={"messages": len(commands)})
            raise DependencyError(ErrorCode.UNEXPECTED, f"unexpected {type(error).__name__} in the worker") from error

    async def _write_current(self, commands: list[Write]) -> list[Outcome]:
        """Write what the collection takes; check what the store refuses against a new contract once."""
        sent: frozenset[Write] = _NONE
        while True:
            refused = await self._refusals(commands)
            accepted = [c for c in commands if c not in refused]
            if not any(c.delivery.link.alive for c in commands):
                raise Abandoned  # the channel was lost meanwhile; the broker delivers all of them again
            try:
                superseded = await self._applied(accepted) if accepted else _NONE
            except MessageError as error:
                if error.code in _OUTDATED:
                    self._contracts.forget(self._collection)
                if sent or error.code is ErrorCode.UNKNOWN_COLLECTION or error.code not in _OUTDATED:
                    raise partly_stored(error, accepted[0].ids) from error
                sent = frozenset(accepted)
            else:
                break
        return [
            decide(partly_stored(refused[c], c.ids) if c in sent else refused[c], c.delivery.attempt, self._policy)
            if c in refused
            else _done(c, "superseded" if c in superseded else "applied")
            for c in commands
        ]

    async def _applied(self, commands: list[Write]) -> AbstractSet[Write]:
        """Write commands of one kind as one. Return those of which nothing had to be written."""
        first = commands[0]
        if isinstance(first, UpsertPoints) and len(commands) == 1 and len(set(first.ids)) == len(first.ids):
            await self._store.upsert(self._collection, first.points)  # there is nothing to merge
            return _NONE
        return await apply(self._store, self._collection, commands)

    async def _refusals(self, commands: list[Write]) -> Mapping[Write, MessageError]:
        checked = [c for c in commands if isinstance(c, UpsertPoints | ReplaceVectors | RemoveVectors)]
        return await self._contracts.refusals(self._collection, checked) if checked else {}

    async def _settle(self, commands: list[Write], outcomes: Sequence[Outcome], place: Place) -> None:
        quiet: dict[tuple[str, str], list[Write]] = {}
        slow: list[asyncio.Task[None]] = []
        parked: dict[Write, Retry] = {}
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Done) and command.delivery.properties.reply_to is None:
                quiet.setdefault((outcome.label, command.delivery.lane), []).append(command)
            elif isinstance(outcome, Retry) and not outcome.spends:
                slow.append(self.held.park(command, outcome))
                parked[command] = outcome
            else:
                slow.append(self._settle_later(command.delivery, outcome))
        if parked:
            self.held.park_behind(parked, next(iter(parked.values())))
        for (label, _), alike in quiet.items():
            self._settler.acknowledge(alike[0].operation.value, label, [command.delivery for command in alike])
        if slow:
            place.release()  # the store is done
            await asyncio.wait(slow, timeout=_COPY_SECONDS)

    def _report(self, commands: list[Write], outcomes: Sequence[Outcome], seconds: float, reason: Reason) -> None:
        applied = [c for c, o in zip(commands, outcomes, strict=True) if isinstance(o, Done)]
        if not applied:
            return
        points = sum(len(c.ids or ()) for c in applied)
        self._observer.wrote(applied[0].operation.value, reason, points, len(applied))
        if lines.logger.isEnabledFor(logging.INFO):
            lines.batch_written(applied, points, seconds)


_QUIET = {label: Done(label) for label in ("applied", "superseded")}


def _done(command: Write, label: str) -> Done:
    return _QUIET[label] if command.delivery.properties.reply_to is None else Done(label, command.result)
