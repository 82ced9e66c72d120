import time
from collections.abc import Mapping, Sequence

from memq_worker.observe import catalogue
from memq_worker.observe.catalogue import PLACES, Instrument
from memq_worker.observe.histogram import Histogram
from memq_worker.observe.slot import Slot
from memq_worker.pipeline.delivery import Delivery


class Metrics:
    """pipeline.observer.Observer that counts in a slot. What many messages share is counted once for all of them."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self._numbers = slot.numbers
        self._messages = self._places(catalogue.MESSAGES)
        self._durations = self._histograms(catalogue.DURATION)
        stages = self._histograms(catalogue.STAGE)
        self._stages = {op: [stages[op, stage] for stage in catalogue.STAGES] for op in catalogue.OPERATIONS}
        self._delays = self._histograms(catalogue.DELAY)
        self._clamped = PLACES[catalogue.CLAMPED.name, ()]
        self._batches = self._places(catalogue.BATCHES)
        self._points = self._places(catalogue.POINTS)
        self._batch_points = self._histograms(catalogue.BATCH_POINTS)[()]
        self._batch_messages = self._histograms(catalogue.BATCH_MESSAGES)[()]
        self._calls = self._places(catalogue.STORE_CALLS)
        self._call_durations = self._histograms(catalogue.STORE_CALL_DURATION)
        self._held_since: float | None = None
        self.published: dict[str, float] = {}  # by queue, of what was settled last, in epoch seconds

    def _places(self, instrument: Instrument) -> dict[str | tuple[str, ...], int]:
        """By labels; where there is one label, by its value."""
        return {
            labels[0] if len(labels) == 1 else labels: PLACES[instrument.name, labels]
            for labels in instrument.combinations
        }

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
        self._numbers[self._messages[operation, outcome]] += number
        if code and outcome in ("refused", "dead_lettered"):
            self._add(catalogue.REFUSALS, code, amount=number)
        if number == 1 or not deliveries[0].stored:
            for delivery in deliveries:
                self._settled_alone(operation, delivery, now)
        else:
            self._durations[operation].observe_all([now - delivery.received for delivery in deliveries])
            self._stage_durations(operation, deliveries, now)
            stamps = [d.properties.timestamp for d in deliveries if d.properties.timestamp is not None]
            self._queue_delays(operation, deliveries[-1].queue, stamps)

    def _settled_alone(self, operation: str, delivery: Delivery, now: float) -> None:
        """The same without a list of everything, which for one delivery costs more than the counting."""
        self._durations[operation].observe(now - delivery.received)
        decode, wait, store, settle = self._stages[operation]
        if delivery.decoded:
            decode.observe(delivery.decoded - delivery.received)
        if delivery.stored:
            wait.observe(delivery.began - delivery.decoded)
            store.observe(delivery.stored - delivery.began)
        settle.observe(now - (delivery.stored or delivery.decoded or delivery.received))
        stamp = delivery.properties.timestamp
        if stamp is not None:
            self._queue_delays(operation, delivery.queue, [stamp])

    def _stage_durations(self, operation: str, deliveries: Sequence[Delivery], now: float) -> None:
        decode, wait, store, settle = self._stages[operation]
        decode.observe_all([d.decoded - d.received for d in deliveries])
        wait.observe_all([d.began - d.decoded for d in deliveries])
        first, last = deliveries[0], deliveries[-1]
        if first.began == last.began and first.stored == last.stored:
            store.observe(first.stored - first.began, len(deliveries))
            settle.observe(now - first.stored, len(deliveries))
        else:
            store.observe_all([d.stored - d.began for d in deliveries])
            settle.observe_all([now - d.stored for d in deliveries])

    def _queue_delays(self, operation: str, queue: str, stamps: list[float]) -> None:
        if not stamps:
            return
        self.published[queue] = stamps[-1]
        now = time.time()
        if max(stamps) > now:
            self._numbers[self._clamped] += sum(stamp > now for stamp in stamps)
            stamps = [min(stamp, now) for stamp in stamps]
        self._delays[operation].observe_all([now - stamp for stamp in stamps])

    def wrote(self, operation: str, reason: str, points: int, messages: int) -> None:
        numbers = self._numbers
        numbers[self._batches[reason]] += 1
        numbers[self._points[operation]] += points
        self._batch_points.observe(points)
        self._batch_messages.observe(messages)

    def called(self, call: str, code: str, seconds: float) -> None:
        """A call to the store has ended: `code` is an ErrorCode, or ok."""
        self._numbers[self._calls[call, code]] += 1
        self._call_durations[call].observe(seconds)

    def replied(self, outcome: str) -> None:
        self._add(catalogue.REPLIES, outcome)

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
