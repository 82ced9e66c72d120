from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import ErrorCode, headers
from memq_worker.errors import DependencyError, MessageError, Outage
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.outcome import RetryPolicy
from memq_worker.pipeline.reply_to import ReplyTo
from memq_worker.suspects import Suspects
from tests.unit.worker.fakes import NAMES, FakeLink, FakeStore, Watch, delivery, options, upsert

if TYPE_CHECKING:
    from memq_worker.pipeline.store import PointsBatch

AWAY = Outage(ErrorCode.STORE_UNAVAILABLE, "away", away=True)
FULL = Outage(ErrorCode.STORE_UNAVAILABLE, "no space left", least="collection")


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def pipeline(store: FakeStore, watch: Watch) -> Pipeline:
    return Pipeline(store, watch, options())


async def test_a_write_is_acknowledged_after_it_is_applied_and_not_before(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1)))
    await store.writing.wait()
    assert link.acked == []
    store.gate.set()
    await link.settled(1)
    assert link.acked == [1]
    assert link.published == []
    assert watch.outcomes == [("upsert", "applied", "")]


async def test_what_arrives_while_a_write_is_in_flight_goes_into_the_next_one(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1)))
    await store.writing.wait()
    for tag in range(2, 20):
        pipeline.accept(delivery(link, tag, upsert(tag)))
    store.gate.set()
    await link.settled(19)
    assert store.writes == [[1], list(range(2, 20))]


async def test_a_full_batch_is_written_beside_the_one_in_flight(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1)))
    await store.writing.wait()
    store.writing.clear()
    for tag in range(2, 53):
        pipeline.accept(delivery(link, tag, upsert(tag)))
    await store.writing.wait()  # fails by timeout if the second write waits for the first
    store.gate.set()
    await link.settled(52)
    assert [len(batch) for batch in store.writes] == [1, 50, 1]


async def test_what_newer_versions_in_the_same_write_leave_nothing_of_is_superseded(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    for tag, version in ((1, 5), (2, 7), (3, 6)):
        pipeline.accept(delivery(link, tag, upsert(1, version=version)))
    await link.settled(3)
    assert store.writes == [[1]]
    assert sorted(outcome for _, outcome, _ in watch.outcomes) == ["applied", "superseded", "superseded"]
    assert sorted(link.acked) == [1, 2, 3]


async def test_deletes_with_and_without_a_version_are_not_one_write(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    pipeline.accept(delivery(link, 1, {"ids": [1], "version": 3}, "delete.docs"))
    pipeline.accept(delivery(link, 2, {"ids": [2]}, "delete.docs"))
    await link.settled(2)
    assert store.writes == [["delete older", {1: 3}], ["delete", 2]]


async def test_a_reply_is_sent_before_the_acknowledgement(pipeline: Pipeline, link: FakeLink) -> None:
    pipeline.accept(delivery(link, 1, upsert(1, 2), reply_to="caller"))
    await link.settled(1)
    assert link.log == [("publish", "caller"), ("ack", 1)]
    (reply,) = link.replies()
    assert reply["status"] == 200
    assert reply["result"] == {"upserted": 2}
    assert reply["elapsed_ms"] > 0
    assert link.published[0].properties.correlation_id == "c1"
    assert link.published[0].properties.delivery_mode == headers.TRANSIENT


async def test_a_refused_write_is_dead_lettered_answered_and_then_acknowledged(
    pipeline: Pipeline, link: FakeLink, watch: Watch
) -> None:
    pipeline.accept(delivery(link, 1, upsert(1, vector=[1, 2, 3]), reply_to="caller"))
    await link.settled(1)
    assert link.log == [("publish", NAMES.dead), ("publish", "caller"), ("ack", 1)]
    (dead,) = link.moved(NAMES.dead)
    assert dead.routing_key == "upsert.docs"
    assert dead.json == upsert(1, vector=[1, 2, 3])
    assert dead.properties.content_type == headers.JSON
    assert dead.properties.reply_to == "caller"
    said = dead.properties.headers
    assert said[headers.ERROR_CODE] == "wrong_dimension"
    assert said[headers.ERROR_STAGE] == "validate"
    assert said[headers.EXCEPTION_CLASS] == "MessageError"
    assert said[headers.EXCEPTION_MESSAGE] == "points[0]: 3 dimensions, collection 'docs' takes 2"
    assert said[headers.RETRY_COUNT] == 0
    assert said[headers.ORIGINAL_QUEUE] == NAMES.write
    assert said[headers.WORKER] == "w1"
    assert said[headers.FIRST_FAILED_AT] == said[headers.LAST_FAILED_AT]
    assert said[headers.LAST_FAILED_AT].endswith("Z")
    (reply,) = link.replies()
    assert reply["status"] == 422
    assert reply["error"] == {
        "code": "wrong_dimension",
        "message": "points[0]: 3 dimensions, collection 'docs' takes 2",
        "retryable": False,
    }
    assert watch.outcomes == [("upsert", "dead_lettered", "wrong_dimension")]


async def test_the_first_point_of_the_wrong_size_refuses_the_message_and_no_other(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    pipeline.accept(delivery(link, 1, upsert(1)))
    pipeline.accept(delivery(link, 2, {"points": [*upsert(2)["points"], *upsert(3, vector=[1])["points"]]}))
    pipeline.accept(delivery(link, 3, upsert(4)))
    await link.settled(3)
    assert sorted(link.acked) == [1, 2, 3]
    assert set(store.points) == {1, 4}, "a message is applied whole or refused whole"
    assert [p.routing_key for p in link.moved(NAMES.dead)] == ["upsert.docs"]


async def test_a_refused_merge_is_halved_until_only_the_offender_is_refused(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    def refuse(points: PointsBatch) -> Exception | None:
        return MessageError(ErrorCode.REJECTED_BY_STORE, "no") if 13 in points.ids else None

    store.refuse = refuse
    for tag in range(1, 31):
        pipeline.accept(delivery(link, tag, upsert(tag)))
    await link.settled(30)
    assert set(store.points) == set(range(1, 31)) - {13}
    assert len(link.moved(NAMES.dead)) == 1
    assert watch.outcomes.count(("upsert", "dead_lettered", "rejected_by_store")) == 1
    assert watch.outcomes.count(("upsert", "applied", "")) == 29


async def test_a_failure_waits_in_a_tier_and_ends_among_the_dead_letters(link: FakeLink, store: FakeStore) -> None:
    pipeline = Pipeline(store, Watch(), options(retries=RetryPolicy(3)))
    store.failures = [DependencyError(ErrorCode.STORE_ERROR, "odd")] * 3
    pipeline.accept(delivery(link, 1, upsert(1), extra={"x-death": [1], "x-delivery-count": 1, "mine": "kept"}))
    await link.settled(1)
    (copy,) = link.moved(NAMES.retry(1))
    assert copy.properties.headers[headers.RETRY_COUNT] == 1
    assert copy.properties.headers["mine"] == "kept"
    assert not {"x-death", "x-delivery-count"} & set(copy.properties.headers), "4.3 enforces the broker's counts"
    assert link.log == [("publish", NAMES.retry(1)), ("ack", 1)]
    first_failed = copy.properties.headers[headers.FIRST_FAILED_AT]

    pipeline.accept(delivery(link, 2, upsert(1), extra=dict(copy.properties.headers)))
    await link.settled(2)
    pipeline.accept(delivery(link, 3, upsert(1), extra=dict(link.moved(NAMES.retry(5))[0].properties.headers)))
    await link.settled(3)
    (dead,) = link.moved(NAMES.dead)
    assert dead.properties.headers[headers.RETRY_COUNT] == 2
    assert dead.properties.headers[headers.ERROR_CODE] == "store_error"
    assert dead.properties.headers[headers.FIRST_FAILED_AT] == first_failed


async def test_a_copy_that_finds_no_queue_is_not_acknowledged(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    link.unroutable = {NAMES.retry(1), NAMES.dead}
    store.failures = [DependencyError(ErrorCode.STORE_ERROR, "odd")]
    pipeline.accept(delivery(link, 1, upsert(1)))
    await link.until(lambda now: now.abandoned is not None)
    assert link.acked == []


async def test_an_outage_costs_time_and_no_attempts(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    store.failures = [AWAY, AWAY, None]
    pipeline.accept(delivery(link, 1, upsert(1)))
    await link.settled(1)
    assert link.acked == [1]
    assert link.published == [], "nothing is moved to a retry tier"
    assert watch.holds == [True, False]


async def test_requests_are_answered_at_once_while_the_store_is_away(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    store.failures = [AWAY] * 50
    pipeline.accept(delivery(link, 1, upsert(1)))
    await watch.holding.wait()
    pipeline.accept(delivery(link, 2, {"vector": [1, 2]}, "query.docs", reply_to="caller"))
    await link.settled(1)
    (reply,) = link.replies()
    assert reply["status"] == 503
    assert reply["error"]["code"] == "store_unavailable"
    assert reply["error"]["retryable"] is True
    assert reply["error"]["retry_after"] > 0
    assert link.acked == [2]
    await pipeline.drain()
    assert link.nacked == [1], "a held write goes back to the queue when the worker stops"


async def test_a_store_that_takes_no_writes_still_answers_questions(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    store.failures = [FULL]
    pipeline.accept(delivery(link, 1, upsert(1)))
    await watch.holding.wait()
    pipeline.accept(delivery(link, 2, {"vector": [1, 2]}, "query.docs", reply_to="caller"))
    await link.until(lambda now: now.acked[:1] == [2])
    assert link.replies()[0]["status"] == 200
    await link.settled(2)


async def test_a_missing_collection_refuses_every_message_and_is_asked_for_again(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.contract_error = MessageError(ErrorCode.UNKNOWN_COLLECTION, "none")
    pipeline.accept(delivery(link, 1, upsert(1)))
    pipeline.accept(delivery(link, 2, upsert(2)))
    await link.settled(2)
    assert len(link.moved(NAMES.dead)) == 2
    store.contract_error = None
    pipeline.accept(delivery(link, 3, upsert(3)))
    await link.settled(3)
    assert set(store.points) == {3}


async def test_nothing_is_refused_on_an_old_contract(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.accept(delivery(link, 1, upsert(1)))
    await link.settled(1)
    store.sizes = {"": 3}  # dropped and made again by somebody else
    pipeline.accept(delivery(link, 2, upsert(2, vector=[1, 2, 3])))
    await link.settled(2)
    assert 2 in store.points
    assert link.moved(NAMES.dead) == []


async def test_an_unexpected_error_is_retried_and_takes_no_neighbour_with_it(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(points: PointsBatch) -> Exception | None:
        return ZeroDivisionError("ours") if 5 in points.ids else None

    store.refuse = refuse
    for tag in range(1, 11):
        pipeline.accept(delivery(link, tag, upsert(tag)))
    await link.settled(10)
    assert set(store.points) == set(range(1, 11)) - {5}
    (copy,) = link.moved(NAMES.retry(1))
    assert copy.properties.headers[headers.ERROR_CODE] == "unexpected"
    assert copy.properties.headers[headers.EXCEPTION_CLASS] == "ZeroDivisionError"
    assert "unexpected error in a write" in caplog.messages


async def test_a_delivery_from_a_dead_channel_is_left_to_the_broker(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.gate = asyncio.Event()
    for tag in (1, 2, 3):
        pipeline.accept(delivery(link, tag, upsert(1)))
    await store.writing.wait()
    link.alive = False
    await pipeline.forget_dead()
    store.gate.set()
    again = FakeLink()
    pipeline.accept(delivery(again, 1, upsert(1)))
    await again.settled(1)
    assert link.log == [], "nothing is settled on a channel that is gone"
    assert again.acked == [1]
    assert len(store.writes) == 2, "what waited on the dead channel is not written for it"


async def test_a_suspect_is_moved_into_quarantine_and_not_decoded(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    pipeline.accept(delivery(link, 1, upsert(1), extra={"x-delivery-count": 1}))
    pipeline.accept(delivery(link, 2, b"kills", extra={"x-delivery-count": 2}))
    await link.settled(2)
    (moved,) = link.moved(NAMES.suspect)
    assert moved.body == b"kills"
    assert set(store.points) == {1}


async def test_a_suspect_is_written_alone(pipeline: Pipeline, link: FakeLink, store: FakeStore) -> None:
    for tag in range(1, 5):
        came = delivery(link, tag, upsert(tag), queue=NAMES.suspect if tag == 3 else None)
        came.alone = tag == 3
        pipeline.accept(came)
    await link.settled(4)
    assert [3] in store.writes


async def test_a_suspect_is_tried_when_writes_are_done_and_others_wait_for_it(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1)))
    await store.writing.wait()
    store.writing.clear()
    waiting = asyncio.create_task(_tried(pipeline, link))
    await asyncio.sleep(0)
    pipeline.accept(delivery(link, 3, upsert(3)))
    pipeline.accept(delivery(link, 4, b"not JSON", "count.docs", reply_to="caller"))
    await link.settled(1)  # the question: it waits for nobody
    assert (link.acked, store.writes) == ([4], [])
    store.gate.set()
    await waiting
    assert store.writes == [[1], [2]]
    await link.settled(4)
    assert store.writes == [[1], [2], [3]]


async def _tried(pipeline: Pipeline, link: FakeLink) -> None:
    suspects = Suspects(pipeline, NAMES, lambda: True)
    async with suspects.others_wait():
        suspect = delivery(link, 2, upsert(2), queue=NAMES.suspect)
        suspect.alone = True
        pipeline.accept(suspect)
        await suspects.writes_done(60)


async def test_what_waits_for_a_suspect_is_handed_back_at_a_stop(pipeline: Pipeline, link: FakeLink) -> None:
    async with Suspects(pipeline, NAMES, lambda: True).others_wait():
        pipeline.accept(delivery(link, 1, upsert(1)))
        await pipeline.drain()
        assert link.log == [("nack", 1)]


async def test_an_expired_request_is_dropped_and_counted(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    past = {headers.DEADLINE: int((time.time() - 1) * 1000)}
    pipeline.accept(delivery(link, 1, {"vector": [1, 2]}, "query.docs", reply_to="caller", extra=past))
    await link.settled(1)
    assert link.acked == [1]
    assert link.published == []
    assert watch.outcomes == [("query", "expired", "")]


async def test_a_deadline_in_seconds_is_answered_with_an_error(pipeline: Pipeline, link: FakeLink) -> None:
    soon = {headers.DEADLINE: int(time.time() + 10)}
    pipeline.accept(delivery(link, 1, {"vector": [1, 2]}, "query.docs", reply_to="caller", extra=soon))
    await link.settled(1)
    (reply,) = link.moved("")
    assert reply.json["error"]["code"] == "invalid"
    assert "x-deadline" in reply.json["error"]["message"]


OWN = ["memq.write", "memq.write.bulk", "memq.dead", "memq.retry.1", "memq.internal.retry.1", "memq.suspect"]


@pytest.mark.parametrize("address", OWN)
async def test_a_reply_is_never_sent_to_one_of_our_own_queues(
    pipeline: Pipeline, link: FakeLink, watch: Watch, address: str
) -> None:
    pipeline.accept(delivery(link, 1, upsert(1), reply_to=address))
    pipeline.accept(delivery(link, 2, {"ids": [1]}, "get.docs", reply_to=address))
    await link.settled(2)
    assert link.published == [], "a reply would be taken for a command"
    assert watch.replies == ["refused", "refused"]
    assert sorted(watch.outcomes) == [("get", "refused", "invalid_reply_to"), ("upsert", "applied", "")]


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("memq.reply.7f", True),
        ("amq.gen-abc", True),
        ("amq.rabbitmq.reply-to.g1h2", True),
        ("orders", False),
        ("amq.topic", False),
        ("other.reply.7f", False),
        ("memq.reply", False),
        ("memq.write", False),
    ],
)
async def test_where_a_reply_may_go_without_a_setting(
    store: FakeStore, link: FakeLink, watch: Watch, caplog: pytest.LogCaptureFixture, address: str, accepted: bool
) -> None:
    pipeline = Pipeline(store, watch, options(reply_to=ReplyTo(NAMES)))
    pipeline.accept(delivery(link, 1, upsert(1), reply_to=address))
    await link.settled(1)
    assert watch.outcomes == [("upsert", "applied", "")], "the write is applied whatever becomes of its reply"
    assert watch.replies == ["sent" if accepted else "refused"]
    assert ("reply withheld" in caplog.messages) is not accepted
    named = [record.__dict__["reason"] for record in caplog.records if record.message == "reply withheld"]
    assert all("MEMQ_REPLY_TO" in reason or "own" in reason for reason in named)


async def test_a_caller_who_has_left_is_counted_and_not_retried(
    pipeline: Pipeline, link: FakeLink, watch: Watch
) -> None:
    link.unroutable = {"caller"}
    pipeline.accept(delivery(link, 1, {"vector": [1, 2]}, "query.docs", reply_to="caller"))
    await link.settled(1)
    assert link.acked == [1]
    assert watch.replies == ["undeliverable"]


@pytest.mark.parametrize(
    ("key", "body", "result"),
    [
        ("query.docs", {"vector": [1, 2]}, [{"id": 1, "score": 0.5, "payload": {}}]),
        ("get.docs", {"ids": [1]}, []),
        ("count.docs", {}, {"count": 0}),
        ("collections.list", {}, {"collections": ["docs"]}),
        ("collections.create.docs", {"size": 2}, {"created": True}),
        ("collections.describe.docs", {}, {"name": "docs"}),
        ("collections.delete.docs", {}, {"deleted": True}),
        ("upsert.docs", upsert(1), {"upserted": 1}),
        ("delete.docs", {"ids": [1, 2]}, {"deleted": 2}),
        ("delete.docs", {"ids": [1, 2], "version": 3}, {"deleted": 2}),
        ("delete.docs", {"filter": {"must": [{"key": "a", "match": {"value": 1}}]}}, {"deleted": None}),
        ("payload.docs", {"ids": [1], "set": {"a": 1}}, {"updated": 1}),
    ],
)
async def test_every_operation_is_answered(
    pipeline: Pipeline, link: FakeLink, key: str, body: Any, result: Any
) -> None:
    pipeline.accept(delivery(link, 1, body, key, reply_to="caller"))
    await link.settled(1)
    (reply,) = link.replies()
    assert (reply["status"], reply["result"]) == (200, result)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"vector": [1, 2, 3]}, "wrong_dimension", 422),
        ({"vector": [1, 2], "using": "other"}, "unknown_vector", 422),
        ({"vector": []}, "empty_vector", 422),
        (b"{", "malformed", 400),
    ],
)
async def test_a_bad_query_is_answered_with_its_error_and_never_dead_lettered(
    pipeline: Pipeline, link: FakeLink, watch: Watch, body: Any, code: str, status: int
) -> None:
    pipeline.accept(delivery(link, 1, body, "query.docs", reply_to="caller"))
    await link.settled(1)
    (reply,) = link.replies()
    assert (reply["status"], reply["error"]["code"]) == (status, code)
    assert len(link.published) == 1
    assert watch.outcomes == [("query", "refused", code)]


async def test_draining_finishes_what_is_begun_and_hands_back_the_rest(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1)))
    await store.writing.wait()
    for tag in (2, 3):
        pipeline.accept(delivery(link, tag, upsert(1)))  # the same id: they wait for the first
    draining = asyncio.create_task(pipeline.drain())
    await link.until(lambda now: len(now.nacked) == 2)
    assert link.acked == []
    store.gate.set()
    await draining
    assert link.acked == [1]
    assert link.nacked == [2, 3]


async def test_a_hard_stop_leaves_what_is_unsettled_to_the_broker(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1)))
    await store.writing.wait()
    await pipeline.cancel()
    assert link.log == []


async def test_an_idle_writer_is_let_go(pipeline: Pipeline, link: FakeLink) -> None:
    for tag in range(1, 50):
        pipeline.accept(delivery(link, tag, upsert(tag), key=f"upsert.c{tag}"))
    await link.settled(49)
    await asyncio.sleep(0)  # the writer's task ends in the turn after its acknowledgement
    assert pipeline.writers == {}


async def test_a_hold_that_nobody_waits_in_any_more_is_over(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    store.failures = [AWAY] * 3
    pipeline.accept(delivery(link, 1, upsert(1)))
    await watch.holding.wait()
    link.alive = False  # the connection to the broker is lost while the store is away
    async with asyncio.timeout(5):
        while pipeline.held:
            watch.holding.clear()
            await watch.holding.wait()
    store.failures = []
    again = FakeLink()
    pipeline.accept(delivery(again, 1, {"vector": [1, 2]}, "query.docs", reply_to="caller"))
    await again.settled(1)
    assert again.replies()[0]["status"] == 200


async def test_a_delivery_that_cannot_be_copied_is_left_to_the_brokers_dead_lettering(
    pipeline: Pipeline, link: FakeLink
) -> None:
    pipeline.accept(delivery(link, 1, b"{", extra={"odd": {1, 2}}))
    await link.until(lambda now: now.rejected == [1])
    assert link.acked == []


@pytest.mark.parametrize("reply_to", [None, "caller"])
async def test_a_write_that_ends_after_its_channel_settles_nothing_on_it(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, watch: Watch, reply_to: str | None
) -> None:
    store.gate = asyncio.Event()
    pipeline.accept(delivery(link, 1, upsert(1), reply_to=reply_to))
    pipeline.accept(delivery(link, 2, upsert(2, vector=[1]), reply_to=reply_to))
    await store.writing.wait()
    link.alive = False
    store.gate.set()
    await pipeline.drain()
    assert link.log == []
    assert watch.outcomes == [], "what was not settled is not counted"


async def test_with_strict_order_a_failed_write_keeps_its_place(link: FakeLink, store: FakeStore, watch: Watch) -> None:
    pipeline = Pipeline(store, watch, options(retries=RetryPolicy(3, in_place=True)))
    store.failures = [DependencyError(ErrorCode.STORE_ERROR, "odd")]
    pipeline.accept(delivery(link, 1, upsert(1, payload={"n": 1})))
    await store.writing.wait()
    pipeline.accept(delivery(link, 2, upsert(1, payload={"n": 2})))
    await link.settled(2)
    assert link.acked == [1, 2]
    assert store.points[1][1] == {"n": 2}
    assert link.published == []


async def test_with_strict_order_the_attempts_still_end(link: FakeLink, store: FakeStore, watch: Watch) -> None:
    pipeline = Pipeline(store, watch, options(retries=RetryPolicy(2, in_place=True)))
    store.failures = [DependencyError(ErrorCode.STORE_ERROR, "odd")] * 2
    pipeline.accept(delivery(link, 1, upsert(1)))
    await link.settled(1)
    (dead,) = link.moved(NAMES.dead)
    assert dead.properties.headers[headers.RETRY_COUNT] == 1


async def test_with_strict_order_a_waiting_write_is_handed_back_when_the_worker_stops(
    link: FakeLink, store: FakeStore, watch: Watch
) -> None:
    pipeline = Pipeline(store, watch, options(retries=RetryPolicy(3, in_place=True)))
    store.failures = [DependencyError(ErrorCode.STORE_ERROR, "odd")] * 5
    pipeline.accept(delivery(link, 1, upsert(1), extra={headers.RETRY_COUNT: 1}))
    await store.writing.wait()
    await pipeline.drain()
    assert link.log == [("nack", 1)]


async def test_a_suspect_is_handed_back_as_a_copy_that_the_broker_has_not_counted(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.failures = [AWAY] * 50
    suspect = delivery(link, 1, upsert(1), queue=NAMES.suspect, extra={"x-delivery-count": 3, headers.RETRY_COUNT: 2})
    suspect.alone = True
    pipeline.accept(suspect)
    await store.writing.wait()
    await pipeline.drain()
    assert link.log == [("publish", NAMES.suspect), ("ack", 1)]
    (copy,) = link.moved(NAMES.suspect)
    assert copy.properties.headers == {headers.RETRY_COUNT: 2}


@pytest.mark.parametrize(("left", "status"), [(2.0, 503), (0.5, 504)])
async def test_a_store_that_hangs_is_answered_for_before_the_deadline(
    pipeline: Pipeline, link: FakeLink, store: FakeStore, left: float, status: int
) -> None:
    store.gate = asyncio.Event()
    deadline = time.time() + left
    extra = {headers.DEADLINE: int(deadline * 1000)}
    pipeline.accept(delivery(link, 1, {"vector": [1, 2]}, "query.docs", reply_to="caller", extra=extra))
    await link.settled(1)
    (reply,) = link.replies()
    assert reply["status"] == status
    assert time.time() < deadline
    if status == 503:
        assert reply["error"]["retry_after"] > 0


async def test_a_refusal_by_the_store_is_checked_against_a_new_contract_before_it_counts(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    pipeline.accept(delivery(link, 1, upsert(1)))
    await link.settled(1)
    # Recreated twice: the write met other vectors than the contract, and the contract read after it fits again.
    store.failures = [MessageError(ErrorCode.UNKNOWN_VECTOR, "no such name")]
    pipeline.accept(delivery(link, 2, upsert(2)))
    await link.settled(2)
    assert link.moved(NAMES.dead) == []
    assert set(store.points) == {1, 2}


async def test_a_message_that_the_store_refused_after_it_was_sent_says_that_a_part_may_be_written(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    refusal = MessageError(ErrorCode.UNKNOWN_VECTOR, "no such name")
    store.failures = [refusal, refusal]
    pipeline.accept(delivery(link, 1, upsert(1, 2), reply_to="caller"))
    await link.settled(1)
    (dead,) = link.moved(NAMES.dead)
    assert "may have been written" in dead.properties.headers[headers.EXCEPTION_MESSAGE]
    assert "may have been written" in link.replies()[0]["error"]["message"]


async def test_a_message_refused_before_it_was_sent_says_nothing_of_the_kind(
    pipeline: Pipeline, link: FakeLink, store: FakeStore
) -> None:
    store.sizes = {"": 3}
    pipeline.accept(delivery(link, 1, upsert(1, 2)))
    await link.settled(1)
    (dead,) = link.moved(NAMES.dead)
    assert "may have been written" not in dead.properties.headers[headers.EXCEPTION_MESSAGE]
