"""What is counted, where it is kept, and that it survives the worker that counted it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from memq_schemas.properties import Properties
from memq_worker.errors import DependencyError, Outage
from memq_worker.observe.ages import Ages
from memq_worker.observe.catalogue import CATALOGUE, PLACES
from memq_worker.observe.exposition import Exposition
from memq_worker.observe.member import STUCK_SECONDS, Member
from memq_worker.observe.metrics import FOLD_SECONDS, Metrics
from memq_worker.observe.probes import livez, readyz
from memq_worker.observe.slot import Foreign, Slot
from memq_worker.observe.store import metered
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.outcome import RetryPolicy
from memq_worker.pipeline.store import PointsBatch
from tests.unit.worker.fakes import NAMES, FakeLink, FakeStore, delivery, options, upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

from memq_schemas import ErrorCode, headers


def shown(members: Sequence[Member]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Exposition(members, {"vhost": "/", "prefix": "memq"}))
    return registry


def at_once(_: float, fold: Callable[[], None]) -> None:
    fold()


@pytest.fixture
def member() -> Member:
    member = Member(0, Slot.private())
    member.started(os.getpid())
    member.slot.beat()
    return member


@pytest.fixture
def metrics(member: Member) -> Metrics:
    return Metrics(member.slot, at_once)


def marked(tag: int, **marks: float) -> Delivery:
    one = delivery(FakeLink(), tag, upsert(tag))
    times = one.times
    times.received = time.perf_counter() - 10
    times.decoded, times.began, times.stored = (
        times.received + marks.get(mark, 0) for mark in ("decoded", "began", "stored")
    )
    return one


@pytest.mark.parametrize("number", [1, 5])
def test_a_delivery_is_in_each_stage_for_as_long_as_it_was(member: Member, metrics: Metrics, number: int) -> None:
    batch = [marked(tag, decoded=0.002, began=0.06, stored=2.06) for tag in range(number)]
    metrics.settled("upsert", "applied", batch)
    page = shown([member])

    def value(name: str, **labels: str) -> float:
        found = page.get_sample_value(name, {"worker": "0", "op": "upsert", **labels})
        assert found is not None, (name, labels)
        return found

    assert value("memq_messages_total", outcome="applied", lane="live") == number
    for stage, seconds in (("decode", 0.002), ("wait", 0.058), ("store", 2.0), ("settle", 7.94)):
        assert value("memq_stage_duration_seconds_count", stage=stage) == number
        assert value("memq_stage_duration_seconds_sum", stage=stage) == pytest.approx(number * seconds, rel=0.2)
    assert value("memq_message_duration_seconds_bucket", le="5.0") == 0
    assert value("memq_message_duration_seconds_bucket", le="+Inf") == number


def test_what_was_never_written_has_no_time_in_the_store(member: Member, metrics: Metrics) -> None:
    refused = delivery(FakeLink(), 1, upsert(1))
    metrics.settled("upsert", "dead_lettered", (refused,), "invalid")
    page = shown([member])
    labels = {"worker": "0", "op": "upsert"}
    assert page.get_sample_value("memq_stage_duration_seconds_count", {**labels, "stage": "store"}) == 0
    assert page.get_sample_value("memq_stage_duration_seconds_count", {**labels, "stage": "settle"}) == 1
    assert page.get_sample_value("memq_refusals_total", {"worker": "0", "code": "invalid"}) == 1


def test_a_retry_is_no_refusal(member: Member, metrics: Metrics) -> None:
    metrics.settled("upsert", "retried", (delivery(FakeLink(), 1, upsert(1)),), "store_error")
    page = shown([member])
    assert page.get_sample_value("memq_refusals_total", {"worker": "0", "code": "store_error"}) == 0


def test_a_delay_is_since_the_publish_and_never_negative(member: Member, metrics: Metrics) -> None:
    now = time.time()
    late, early = (
        Delivery(FakeLink(), tag, NAMES.write, "upsert.docs", b"", Properties(timestamp=stamp))
        for tag, stamp in enumerate((int(now - 100), int(now + 100)))
    )
    metrics.settled("upsert", "applied", [late, early])
    page = shown([member])
    labels = {"worker": "0", "op": "upsert", "lane": "live"}
    assert page.get_sample_value("memq_queue_delay_seconds_sum", labels) == pytest.approx(100, abs=1)
    assert page.get_sample_value("memq_queue_delay_seconds_count", labels) == 2
    assert page.get_sample_value("memq_queue_delay_seconds_bucket", {**labels, "le": "60.0"}) == 1
    assert page.get_sample_value("memq_queue_delay_clamped_total", {"worker": "0"}) == 1


@pytest.mark.parametrize(
    ("sent_ms", "delay"),
    [(1_750_000_000_900, 0.2), (1_750_000_001_000, 1.1), (1_749_000_000_000, 1.1), ("1750000000900", 1.1)],
)
def test_a_delay_is_in_milliseconds_where_the_header_fits_the_timestamp(
    sent_ms: object, delay: float, member: Member, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = Delivery(
        FakeLink(),
        1,
        NAMES.write,
        "upsert.docs",
        b"",
        Properties(timestamp=1_750_000_000, headers={headers.SENT: sent_ms}),
    )
    monkeypatch.setattr(time, "time", lambda: 1_750_000_001.1)
    metrics.settled("upsert", "applied", [delivery])
    page = shown([member])
    labels = {"worker": "0", "op": "upsert", "lane": "live"}
    assert page.get_sample_value("memq_queue_delay_seconds_sum", labels) == pytest.approx(delay, abs=0.05)


async def test_a_write_tried_again_in_its_place_is_counted_and_no_defect(member: Member, metrics: Metrics) -> None:
    store = FakeStore(failures=[DependencyError(ErrorCode.STORE_ERROR, "odd")])
    link = FakeLink()
    pipeline = Pipeline(metered(store, metrics), metrics, options(retries=RetryPolicy(3, in_place=True)))
    pipeline.accept(delivery(link, 1, upsert(1)))
    await link.settled(1)
    assert link.log == [("ack", 1)]
    page = shown([member])
    assert page.get_sample_value("memq_batches_total", {"worker": "0", "reason": "retry"}) == 1


def test_deliveries_are_counted_at_once_and_their_durations_soon_after(member: Member) -> None:
    due: list[tuple[float, Callable[[], None]]] = []
    metrics = Metrics(member.slot, lambda seconds, fold: due.append((seconds, fold)))
    page = shown([member])
    labels = {"worker": "0", "op": "upsert"}
    for number in (3, 6):
        metrics.settled("upsert", "applied", [marked(tag, decoded=1, began=2, stored=3) for tag in range(3)])
        metrics.wrote("upsert", "idle", 5, 3)
        metrics.called("upsert", "ok", 0.1)
        assert page.get_sample_value("memq_messages_total", {**labels, "outcome": "applied", "lane": "live"}) == number
        assert page.get_sample_value("memq_message_duration_seconds_count", labels) == number - 3
        ((seconds, fold),) = due
        assert seconds == FOLD_SECONDS
        due.clear()
        fold()
        assert page.get_sample_value("memq_message_duration_seconds_count", labels) == number
        assert page.get_sample_value("memq_points_total", labels) == number // 3 * 5


async def test_calls_to_the_store_are_counted_by_how_they_end(member: Member, metrics: Metrics) -> None:
    away = Outage(ErrorCode.STORE_UNAVAILABLE, "away")
    store = metered(FakeStore(failures=[away, ValueError("a defect"), None]), metrics)
    points = PointsBatch([1], {"": [b"\0" * 8]}, [None])
    for raised in (Outage, ValueError):
        with pytest.raises(raised):
            await store.upsert("docs", points)
    await store.upsert("docs", points)
    page = shown([member])
    for code in ("store_unavailable", "unexpected", "ok"):
        labels = {"worker": "0", "call": "upsert", "code": code}
        assert page.get_sample_value("memq_store_calls_total", labels) == 1
    assert page.get_sample_value("memq_store_call_duration_seconds_count", {"worker": "0", "call": "upsert"}) == 3


def test_the_next_worker_in_a_place_counts_on_and_starts_with_a_state_of_its_own() -> None:
    slot, descriptor = Slot.shared()
    member = Member(0, slot)
    for life in (1, 2):
        member.started(os.getpid())
        metrics = Metrics(Slot.handed(os.dup(descriptor)), at_once)
        metrics.replied("sent")
        metrics.unsettled({"write": 7})
        metrics.slot.beat()
        metrics.slot.tell({"ready": True})
        page = shown([member])
        assert page.get_sample_value("memq_replies_total", {"worker": "0", "outcome": "sent"}) == life
        assert page.get_sample_value("memq_inflight_messages", {"worker": "0", "queue": "write"}) == 7
        member.ended()
        assert page.get_sample_value("memq_inflight_messages", {"worker": "0", "queue": "write"}) == 0
        assert slot.beat_age_seconds is None
        assert slot.report is None
    os.close(descriptor)


def test_memory_of_another_release_is_refused() -> None:
    slot, descriptor = Slot.shared()
    slot._header[0] += 1
    with pytest.raises(Foreign):
        Slot.handed(descriptor)
    short = os.memfd_create("short")
    with pytest.raises(Foreign):
        Slot.handed(short)
    os.close(short)


def test_places_do_not_overlap() -> None:
    taken = [
        (PLACES[instrument.name, combination], instrument.width)
        for instrument in CATALOGUE
        for combination in instrument.combinations
    ]
    end = 0
    for at, width in sorted(taken):
        assert at == end
        end = at + width


def test_a_report_that_is_being_written_is_not_read() -> None:
    slot = Slot.private()
    slot.tell({"ready": True})
    slot._report[8] ^= 1
    assert slot.report is None


def test_a_loop_that_does_not_run_is_stuck_and_not_ready(member: Member) -> None:
    metrics = Metrics(member.slot, at_once)
    metrics.ready(True)
    metrics.slot.tell({"ready": True, "reasons": [], "dependencies": {}})
    assert (livez([member])[0], readyz([member])[0]) == (True, True)
    member.slot._header[1] -= STUCK_SECONDS + 1
    alive, life = livez([member])
    assert (alive, life["status"], life["workers"][0]["state"]) == (False, "stuck", "stuck")
    able, work = readyz([member])
    assert not able
    assert "stuck" in work["workers"][0]["reasons"][0]
    page = shown([member])
    assert page.get_sample_value("memq_ready", {"worker": "0"}) == 0
    lag = page.get_sample_value("memq_event_loop_lag_seconds", {"worker": "0"})
    assert lag is not None
    assert lag > STUCK_SECONDS


def test_a_pool_of_which_one_works_is_degraded_and_a_dead_one_is_no_reason_to_kill_it(member: Member) -> None:
    member.slot.tell({"ready": True, "reasons": [], "dependencies": {}})
    dead = Member(1, Slot.private())
    assert livez([member, dead])[0]
    able, work = readyz([member, dead])
    assert (able, work["status"]) == (True, "degraded")
    assert work["workers"][1]["reasons"] == ["not running"]


def test_ages_of_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    ages = Ages({NAMES.write: time.time() - 50})
    assert ages.age("write", NAMES.write, 0) == 0
    assert ages.age("write", NAMES.write, 3) == pytest.approx(50, abs=1)
    assert ages.age("retry.30", NAMES.retry(30), 0) == 0
    clock[0] += 5
    assert ages.age("retry.30", NAMES.retry(30), 1) == 5
    clock[0] += 100
    assert ages.age("retry.30", NAMES.retry(30), 1) == 30, "longer than its delay nothing stays"
    assert not ages.wants_head(0)
    assert ages.wants_head(1)
    ages.head(time.time() - 500, 0)
    assert ages.age("dead", NAMES.dead, 1) == pytest.approx(500, abs=1)
    assert not ages.wants_head(1), "a look counts as a delivery: not more than one a minute"
    clock[0] += 60
    assert ages.wants_head(1)
    assert ages.age("dead", NAMES.dead, 0) == 0


def test_numbers_of_queues_outlive_a_worker_and_are_withdrawn_when_nobody_looks_any_more(
    member: Member, metrics: Metrics
) -> None:
    labels = {"queue": "write"}
    page = shown([member])
    assert page.get_sample_value("memq_queue_messages", labels) == 0, "from the start"
    metrics.queue("write", 12, 1, 3.0)
    member.slot.looked()
    assert page.get_sample_value("memq_queue_messages", labels) == 12
    member.ended()
    assert page.get_sample_value("memq_queue_messages", labels) == 12
    member.slot._header[2] -= 120
    assert page.get_sample_value("memq_queue_messages", labels) is None
