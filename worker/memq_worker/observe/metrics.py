import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from memq_schemas import ErrorCode
from memq_schemas.topology import LIVE
from memq_worker.errors import WorkerError
from memq_worker.observe import catalogue
from memq_worker.observe.catalogue import PLACES, Instrument
from memq_worker.observe.slot import Slot
from memq_worker.observe.tenants import TenantMetrics
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.ports import Reason

FOLD_SECONDS = 0.1
Values = NDArray[np.float64]
T = TypeVar("T")
_MARKS = 6  # of a delivery: received, decoded, began, stored, settled, and the publisher's timestamp


class Histogram:
    """One series of a histogram: its buckets, each for itself, and its sum, within a slot's numbers."""

    __slots__ = ("_counts", "_edges", "_edges_array", "_first", "_numbers", "_sum")

    def __init__(self, numbers: "memoryview[float]", first: int, edges: tuple[float, ...]) -> None:
        self._numbers = numbers
        self._first = first
        self._edges = edges
        self._edges_array = np.array(edges)
        self._sum = first + len(edges) + 1
        self._counts: Values = np.asarray(numbers)[first : self._sum]

    def observe(self, value: float, times: int = 1) -> None:
        numbers = self._numbers
        numbers[self._first + bisect_left(self._edges, value)] += times
        numbers[self._sum] += value * times

    def observe_all(self, values: Values) -> None:
        """Add several values: cheaper per value than `observe`, which is cheaper for a single one."""
        self._counts += np.bincount(self._edges_array.searchsorted(values), minlength=len(self._counts))
        self._numbers[self._sum] += float(values.sum())


class Metrics:
    """pipeline.observer.Observer that counts in a slot.

    Deliveries and calls are counted at once. What else there is to say of them, durations and sizes of batches, is
    noted, and folded into the histograms together with all of the next 100 ms: to find a bucket costs several times as
    much for one message as for one of many. A worker that is killed loses the notes of those 100 ms.

    later: calls back after so many seconds, as an event loop's `call_later` does.
    """

    def __init__(self, slot: Slot, later: Callable[[float, Callable[[], None]], object]) -> None:
        self.slot = slot
        self._later = later
        self._due = False
        self._numbers = slot.numbers
        self._messages = self._by_lane(catalogue.MESSAGES)
        self._durations = self._histograms(catalogue.DURATION)
        stages = self._histograms(catalogue.STAGE)
        self._stages = {op: [stages[op, stage] for stage in catalogue.STAGES] for op in catalogue.OPERATIONS}
        self._delays = self._histograms(catalogue.DELAY)
        self._redelivered_places = self._places(catalogue.REDELIVERED)
        self._lanes = frozenset(catalogue.LANES)
        self._clamped = PLACES[catalogue.CLAMPED.name, ()]
        self._batches = self._places(catalogue.BATCHES)
        self._points = self._places(catalogue.POINTS)
        self._batch_points = self._histograms(catalogue.BATCH_POINTS)[()]
        self._batch_messages = self._histograms(catalogue.BATCH_MESSAGES)[()]
        self._calls = self._nested(catalogue.STORE_CALLS)
        self._call_durations = self._histograms(catalogue.STORE_CALL_DURATION)
        self._marks: dict[tuple[str, str], list[float]] = {(op, lane): [] for op, lane in catalogue.DELAY.combinations}
        self._writes: defaultdict[tuple[str, Reason, int, int], int] = defaultdict(int)
        self._call_seconds: dict[str, list[float]] = {call: [] for call in catalogue.CALLS}
        self._tenants = TenantMetrics(slot, Histogram)
        self._held_since: float | None = None
        self.published: dict[str, float] = {}  # by queue, of what was settled last, in epoch seconds

    def _places(self, instrument: Instrument) -> dict[str | tuple[str, ...], int]:
        """Places by label values; a single label's value stands alone."""
        return {
            labels[0] if len(labels) == 1 else labels: PLACES[instrument.name, labels]
            for labels in instrument.combinations
        }

    def _nested(self, instrument: Instrument) -> dict[str, dict[str, int]]:
        """Places by the first label and then the second, a faster look-up than by a tuple."""
        places: dict[str, dict[str, int]] = {}
        for first, second in instrument.combinations:
            places.setdefault(first, {})[second] = PLACES[instrument.name, (first, second)]
        return places

    def _by_lane(self, instrument: Instrument) -> dict[str, dict[str, dict[str, int]]]:
        """Places by lane, operation and outcome."""
        places: dict[str, dict[str, dict[str, int]]] = {lane: {} for lane in catalogue.LANES}
        for operation, outcome, lane in instrument.combinations:
            places[lane].setdefault(operation, {})[outcome] = PLACES[instrument.name, (operation, outcome, lane)]
        return places

    def _histograms(self, instrument: Instrument) -> dict[str | tuple[str, ...], Histogram]:
        places = self._places(instrument)
        return {labels: Histogram(self._numbers, at, instrument.edges) for labels, at in places.items()}

    def _add(self, instrument: Instrument, *labels: str, amount: float = 1) -> None:
        self._numbers[PLACES[instrument.name, labels]] += amount

    def _set(self, instrument: Instrument, *labels: str, value: float) -> None:
        self._numbers[PLACES[instrument.name, labels]] = value

    def settled(self, operation: str, outcome: str, deliveries: Sequence[Delivery], code: str = "") -> None:
        now = time.perf_counter()
        number = len(deliveries)
        lane = deliveries[0].lane
        if lane not in self._lanes or operation not in catalogue.WRITTEN:
            lane = LIVE
        self._numbers[self._messages[lane][operation][outcome]] += number
        if code and outcome in ("refused", "dead_lettered"):
            self._add(catalogue.REFUSALS, code, amount=number)
        if deliveries[0].tenant is not None:
            self._tenants.settled(operation, outcome, deliveries)
        marks = self._marks[operation, lane]
        stamp = 0.0
        for delivery in deliveries:
            if delivery.redelivered:
                self._redelivered(delivery.queue)
            stamp = delivery.properties.published or 0.0
            times = delivery.times
            marks.extend((times.received, times.decoded, times.began, times.stored, now, stamp))
        if stamp:
            self.published[deliveries[-1].queue] = stamp
        if not self._due:
            self._fold_later()

    def _redelivered(self, queue: str) -> None:
        role = "write.bulk" if queue.endswith(".write.bulk") else queue.rpartition(".")[2]
        place = self._redelivered_places.get(role)
        if place is not None:
            self._numbers[place] += 1

    def wrote(self, operation: str, reason: Reason, points: int, messages: int) -> None:
        self._writes[operation, reason, points, messages] += 1
        if not self._due:
            self._fold_later()

    def called(self, call: str, code: str, seconds: float) -> None:
        """A call to the store has ended: `code` is an ErrorCode, or ok."""
        self._numbers[self._calls[call][code]] += 1
        self._call_seconds[call].append(seconds)
        if not self._due:
            self._fold_later()

    async def timed(self, call: str, method: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """The result of a call to the store, which is counted."""
        started = time.perf_counter()
        try:
            answer = await method(*arguments)
        except Exception as error:
            code = error.code if isinstance(error, WorkerError) else ErrorCode.UNEXPECTED
            self.called(call, code.value, time.perf_counter() - started)
            raise
        # A cancelled call says nothing about the store.
        self.called(call, "ok", time.perf_counter() - started)
        return answer

    def _fold_later(self) -> None:
        self._due = True
        self._later(FOLD_SECONDS, self.fold)

    def fold(self) -> None:
        """Counts what was only noted: to be called for a last time before the worker ends."""
        self._due = False
        for (operation, lane), marks in self._marks.items():
            if marks:
                rows = np.array(marks).reshape(-1, _MARKS)
                marks.clear()
                self._fold_marks(operation, lane, rows)
        for (operation, reason, points, messages), times in self._writes.items():
            self._numbers[self._batches[reason]] += times
            self._numbers[self._points[operation]] += points * times
            self._batch_points.observe(points, times)
            self._batch_messages.observe(messages, times)
        self._writes.clear()
        for call, seconds in self._call_seconds.items():
            if seconds:
                self._call_durations[call].observe_all(np.array(seconds))
                seconds.clear()

    def _fold_marks(self, operation: str, lane: str, rows: Values) -> None:
        received, decoded, began, stored, settled, stamps = rows.T
        self._durations[operation].observe_all(settled - received)
        decode, wait, store, settle = self._stages[operation]
        was_decoded, was_stored = decoded > 0, stored > 0
        decode.observe_all((decoded - received)[was_decoded])
        wait.observe_all((began - decoded)[was_stored])
        store.observe_all((stored - began)[was_stored])
        # Marks are in the order of time, and one that was not reached is 0.
        settle.observe_all(settled - np.maximum(np.maximum(received, decoded), stored))
        delays = (settled - stamps + (time.time() - time.perf_counter()))[stamps > 0]
        early = delays < 0
        if early.any():
            self._numbers[self._clamped] += int(early.sum())
            delays[early] = 0.0
        self._delays[operation, lane].observe_all(delays)

    def limited(self, tenant: str, limit: str) -> None:
        """A tenant has reached a limit."""
        self._tenants.limited(tenant, limit)

    def tenant_queue(self, tenant: str, messages: int) -> None:
        self._tenants.queue(tenant, messages)

    def replied(self, outcome: str) -> None:
        self._add(catalogue.REPLIES, outcome)

    def skewed(self) -> None:
        self._add(catalogue.CLOCK_SKEWS)

    def retried(self, tier: int) -> None:
        self._add(catalogue.RETRIES, str(tier))

    def dead_lettered(self, code: str) -> None:
        self._add(catalogue.DEAD_LETTERS, code)

    def reconnected(self) -> None:
        self._add(catalogue.RECONNECTS)

    def blocked(self, blocked: bool) -> None:
        self._set(catalogue.BLOCKED, value=blocked)

    def held(self, held: bool) -> None:
        self._set(catalogue.HELD, value=held)
        self.tick()
        self._held_since = time.monotonic() if held else None

    def tick(self) -> None:
        """Counts the time that has passed by itself: now and then, so that a kill loses little of it."""
        if self._held_since is not None:
            now = time.monotonic()
            self._add(catalogue.HELD_SECONDS, amount=now - self._held_since)
            self._held_since = now

    def lag(self, seconds: float) -> None:
        self._set(catalogue.LAG, value=seconds)

    def ready(self, ready: bool) -> None:
        self._set(catalogue.READY, value=ready)

    def unsettled(self, by_queue: Mapping[str, int]) -> None:
        for queue, number in by_queue.items():
            self._set(catalogue.INFLIGHT, queue, value=number)

    def prefetch(self, by_queue: Mapping[str, int]) -> None:
        for queue, number in by_queue.items():
            self._set(catalogue.PREFETCH, queue, value=number)

    def queue(self, role: str, messages: int, consumers: int, oldest_age_seconds: float) -> None:
        self._set(catalogue.QUEUE_MESSAGES, role, value=messages)
        self._set(catalogue.QUEUE_CONSUMERS, role, value=consumers)
        self._set(catalogue.QUEUE_OLDEST, role, value=oldest_age_seconds)
