"""What a worker makes of a store that fails, code by code: real broker and engine, a failing proxy between them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as q

from memq import Producer, RemoteError
from memq_schemas import ErrorCode, Names, headers
from memq_worker.errors import DependencyError, MessageError, Throttled
from memq_worker.qdrant.errors import ROWS, find
from tests.support.broker import depth, take
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine
    from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.integration

S = grpc.StatusCode


@pytest.fixture
async def store(engine: EmbeddedEngine) -> AsyncIterator[FaultyStore]:
    async with faulty_store(engine.url) as store:
        yield store


@pytest.fixture
async def worker(amqp: Address, store: FaultyStore) -> AsyncIterator[WorkerProcess]:
    given = {"max_attempts": 2, "store_timeout_seconds": 3, "drain_seconds": 8, "log_repeats": 0}
    async with worker_beside(amqp, store, **given) as worker:
        yield worker


@asynccontextmanager
async def worker_beside(amqp: Address, store: FaultyStore, **settings: Any) -> AsyncIterator[WorkerProcess]:
    """A worker that talks to a proxy on this loop, so it is started in a thread."""

    def enter() -> Any:
        context = running_worker(amqp, qdrant_url=store.url, **settings)
        return context, context.__enter__()

    context, worker = await asyncio.to_thread(enter)
    try:
        yield worker
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.fixture
async def producer(worker: WorkerProcess, amqp: Address, request: pytest.FixtureRequest) -> AsyncIterator[Producer]:
    async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
        await producer.collections.create("docs", 2, exist_ok=True)
        yield producer
        await producer.collections.delete("docs")


async def write(producer: Producer, *ids: int) -> None:
    await producer.upsert("docs", ids=ids, vectors=np.ones((len(ids), 2)), wait=True)


async def test_a_failure_waits_a_tier_and_the_caller_gets_his_answer_from_the_second_attempt(
    producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    store.fail("Upsert", Fault(S.INTERNAL, "Service internal error: odd"))
    await write(producer, 1)
    (line,) = worker.logged("delivery not applied")
    assert (line["outcome"], line["code"], line["attempt"]) == ("retried", "store_error", 1)
    assert (await producer.count("docs")).count == 1
    assert await depth(amqp, Names(amqp.prefix).dead) == 0


async def test_after_the_last_attempt_it_is_a_dead_letter_with_its_history(
    producer: Producer, store: FaultyStore, amqp: Address
) -> None:
    store.fail_always("Upsert", Fault(S.INTERNAL, "Service internal error: secret-77"))
    with pytest.raises(RemoteError) as caught:
        await write(producer, 1)
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("store_error", 500, True)
    (dead,) = await take(amqp, Names(amqp.prefix).dead)
    assert dead.headers[headers.RETRY_COUNT] == 1
    assert dead.headers[headers.ERROR_CODE] == "store_error"
    assert dead.headers[headers.ORIGINAL_QUEUE] == Names(amqp.prefix).write
    assert str(dead.headers[headers.FIRST_FAILED_AT]) < str(dead.headers[headers.LAST_FAILED_AT])
    assert "secret-77" not in str(dict(dead.headers)), "the store's words may quote the sender"
    assert dead.routing_key == "upsert.docs"


# Answers that rule out that the message is at fault.
OUTAGES = {
    "shard": Fault(S.UNAVAILABLE, "Shard temporarily unavailable: recovering"),
    "quota": Fault(S.RESOURCE_EXHAUSTED, "quota", (("qdrant-insufficient-storage", "1"),)),
    "disk": Fault(S.INTERNAL, "Service internal error: No space left on device: WAL buffer size exceeds"),
    "replica": Fault(S.INTERNAL, "Service internal error: The replica set has no active replica"),
    "auth revoked": Fault(S.UNAUTHENTICATED, "Invalid API key"),
}
WAIT_TIMEOUT = Fault(
    alter=lambda _: q.PointsOperationResponse(
        result=q.UpdateResult(status=q.UpdateStatus.WaitTimeout)
    ).SerializeToString()
)


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_is_waited_out_and_spends_no_attempt(
    name: str, producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    store.fail("Upsert", OUTAGES[name], OUTAGES[name], OUTAGES[name])  # more than there are attempts
    await write(producer, 1)
    assert store.calls.count("Upsert") == 4
    assert worker.logged("store unavailable, writes held")
    await asyncio.to_thread(worker.until, "store available, writes resumed")
    await nothing_was_spent(worker, amqp)


async def nothing_was_spent(worker: WorkerProcess, amqp: Address) -> None:
    assert not worker.logged("delivery not applied"), "no attempt was spent"
    names = Names(amqp.prefix)
    assert [await depth(amqp, queue) for queue in (names.dead, names.retry(1), names.retry(5))] == [0, 0, 0]


@pytest.mark.parametrize("status", [S.UNAVAILABLE, S.DEADLINE_EXCEEDED, S.CANCELLED, S.FAILED_PRECONDITION, S.ABORTED])
async def test_an_outage_that_an_independent_question_confirms_spends_no_attempt(
    status: grpc.StatusCode, producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    store.fail_always("List", Fault(status))
    store.fail_always("Upsert", Fault(status))
    writing = asyncio.create_task(write(producer, 1))
    await until(lambda: store.calls.count("Upsert") > 3, within=60)
    # While List fails, a write that failed just now is still asked about, and the answer must be the same.
    store.fail_always("Upsert", None)
    await writing
    await asyncio.to_thread(worker.until, "store available, writes resumed")
    await nothing_was_spent(worker, amqp)


@pytest.mark.parametrize("status", [S.UNAVAILABLE, S.CANCELLED, S.FAILED_PRECONDITION, S.ABORTED])
async def test_a_failure_while_the_store_answers_is_tried_again_and_then_costs_an_attempt(
    status: grpc.StatusCode, producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    store.fail("Upsert", Fault(status))
    await write(producer, 1)
    await nothing_was_spent(worker, amqp)
    store.fail("Upsert", Fault(status), Fault(status), Fault(status))
    await write(producer, 1)
    (line,) = worker.logged("delivery not applied")
    assert (line["outcome"], line["attempt"]) == ("retried", 1)
    assert not worker.logged("store unavailable, writes held")


@pytest.mark.parametrize("fault", [Fault(S.DEADLINE_EXCEEDED), WAIT_TIMEOUT], ids=["deadline", "wait timeout"])
async def test_a_write_that_takes_too_long_costs_an_attempt_while_the_store_answers(
    fault: Fault, producer: Producer, store: FaultyStore, worker: WorkerProcess
) -> None:
    store.fail("Upsert", fault)
    await write(producer, 1)
    (line,) = worker.logged("delivery not applied")
    assert (line["outcome"], line["code"]) == ("retried", "deadline_exceeded")
    assert not worker.logged("store unavailable, writes held")


async def test_a_rate_limit_parks_the_message_and_spends_no_attempt(
    producer: Producer, store: FaultyStore, worker: WorkerProcess
) -> None:
    limit = Fault(S.RESOURCE_EXHAUSTED, "Rate limiting exceeded", (("retry-after", "1"),))
    store.fail("Upsert", limit, limit, limit)  # more than there are attempts
    await write(producer, 1)
    lines = worker.logged("delivery not applied")
    assert [(line["outcome"], line["code"], line["attempt"]) for line in lines] == [("retried", "overloaded", 1)] * 3
    assert not worker.logged("store unavailable, writes held")


async def test_a_missing_permission_spends_attempts_and_holds_nobody(
    producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    store.fail_always("Upsert", Fault(S.PERMISSION_DENIED, "Forbidden: Write access to collection docs is required"))
    with pytest.raises(RemoteError) as caught:
        await write(producer, 1)
    assert (caught.value.code, caught.value.status) == ("forbidden", 403)
    assert not worker.logged("store unavailable, writes held")
    assert await depth(amqp, Names(amqp.prefix).dead) == 1
    store.fail_always("Upsert", None)


async def test_a_held_collection_leaves_others_alone_and_parks_most_of_its_messages(
    producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    await producer.collections.create("other", 2, exist_ok=True)
    await producer.upsert("other", [(0, [1.0, 1.0])], wait=True)
    only = b"docs"
    full = Fault(OUTAGES["disk"].status, OUTAGES["disk"].details, only=lambda body: only in body[:20])
    store.fail_always("Upsert", full)
    for number in range(400):
        await producer.upsert("docs", [(number, [1.0, 1.0])])
    await asyncio.to_thread(worker.until, "collection unavailable, writes held")
    for number in range(50):
        await producer.upsert("other", [(number, [1.0, 1.0])], wait=True)
    await asyncio.to_thread(worker.until, "delivery not applied", count=400 - 256 // 4)
    assert {line["attempt"] for line in worker.logged("delivery not applied")} == {1}
    assert not worker.logged("store unavailable, writes held")
    store.fail_always("Upsert", None)
    await until(lambda: count_is(producer, 400), within=120, every=0.5)
    assert await depth(amqp, Names(amqp.prefix).dead) == 0
    await producer.collections.delete("other")


@pytest.mark.parametrize("known", [True, False], ids=["written before", "never written"])
@pytest.mark.parametrize("operation", ["upsert", "delete by filter"])
async def test_a_slow_collection_leaves_room_for_others_and_loses_nothing(
    operation: str, known: bool, amqp: Address, store: FaultyStore
) -> None:
    opened = asyncio.Event()
    patient = {"store_timeout_seconds": 80, "drain_seconds": 90, "prefetch": 64, "log_repeats": 0}
    async with (
        worker_beside(amqp, store, **patient) as worker,
        Producer(amqp.url, prefix=amqp.prefix, timeout=40, max_points_per_message=1) as producer,
    ):
        for name in ("docs", "other"):
            await producer.collections.create(name, 2)
        await write(producer, 1000)
        if known:
            await producer.upsert("other", [(0, [1.0, 1.0])], wait=True)
        method = "Upsert" if operation == "upsert" else "Delete"
        store.fail_always(method, Fault(until=opened, only=lambda request: b"docs" in request[:20]))
        try:
            await slow_writes(producer, operation)
            await until(lambda: store.calls.count(method) >= 2 - (operation != "upsert"), within=30)
            await producer.upsert("docs", ids=range(150), vectors=np.ones((150, 2)))
            for number in range(30):
                await producer.upsert("other", [(number, [1.0, 1.0])], wait=True)
        finally:
            opened.set()
        assert not worker.logged("store unavailable, writes held")
        assert not worker.logged("collection unavailable, writes held")
        await until(lambda: count_is(producer, 151 - (operation != "upsert")), within=60, every=0.5)
        assert {line["attempt"] for line in worker.logged("delivery not applied")} == {1}
        assert await depth(amqp, Names(amqp.prefix).dead) == 0


async def slow_writes(producer: Producer, operation: str) -> None:
    """Send a write that the store does not finish for now."""
    if operation == "upsert":
        await producer.upsert("docs", [(0, [1.0, 1.0])])
    else:
        await producer.delete("docs", filter={"must": [{"has_id": [1000]}]})


REFUSALS = {
    "bad input": (Fault(S.INVALID_ARGUMENT, "Wrong input: odd"), "rejected_by_store", 422),
    "too large": (Fault(S.RESOURCE_EXHAUSTED, "please try to split your request"), "too_large", 413),
    "not implemented": (Fault(S.UNIMPLEMENTED, "no"), "unsupported_by_store", 501),
    "dropped meanwhile": (Fault(S.NOT_FOUND, "Not found: Collection `docs` doesn't exist!"), "unknown_collection", 404),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_answered_and_dead_lettered_at_once(
    name: str, producer: Producer, store: FaultyStore, amqp: Address
) -> None:
    fault, code, status = REFUSALS[name]
    store.fail("Upsert", fault)
    with pytest.raises(RemoteError) as caught:
        await write(producer, 1)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert store.calls.count("Upsert") == 1
    (dead,) = await take(amqp, Names(amqp.prefix).dead)
    assert dead.headers[headers.ERROR_CODE] == code


async def test_every_row_of_the_table_does_what_it_says(
    producer: Producer, store: FaultyStore, worker: WorkerProcess
) -> None:
    expected: list[tuple[str, str]] = []
    for number, row in enumerate(ROWS, 1):
        fault = Fault(row.status, f"said: {row.text}", ((row.metadata, "1"),) if row.metadata else ())
        # A refusal that a change of the collection explains is met with a second write, checked against it anew.
        store.fail("Upsert", *[fault] * (2 if row.code in (ErrorCode.UNKNOWN_VECTOR, ErrorCode.WRONG_DIMENSION) else 1))
        if row.raises is MessageError:
            expected.append(("dead_lettered", row.code.value))
            with pytest.raises(RemoteError) as caught:
                await write(producer, number)
            assert caught.value.code == row.code.value
        else:
            if row.raises in (DependencyError, Throttled) or row.status is S.DEADLINE_EXCEEDED:
                expected.append(("retried", row.code.value))
            await write(producer, number)
        assert store.waiting("Upsert") == 0
    await asyncio.to_thread(worker.until, "delivery not applied", count=len(expected))
    assert [(line["outcome"], line["code"]) for line in worker.logged("delivery not applied")] == expected


async def test_a_refused_merge_costs_the_offender_alone(
    producer: Producer, store: FaultyStore, worker: WorkerProcess, amqp: Address
) -> None:
    poison = 13
    offends = Fault(
        S.INVALID_ARGUMENT,
        "Wrong input: odd",
        only=lambda request: any(p.id.num == poison for p in q.UpsertPoints.FromString(request).points),
    )
    store.fail_always("Upsert", offends)
    async with Producer(amqp.url, prefix=amqp.prefix, max_points_per_message=1) as single:
        await single.upsert("docs", ids=range(1, 101), vectors=np.ones((100, 2)))
    await until(lambda: count_is(producer, 99), within=20)
    names = Names(amqp.prefix)
    await until(lambda: depth_is(amqp, names.dead, 1))
    (dead,) = await take(amqp, names.dead)
    assert b'"id":13' in dead.body
    assert await depth(amqp, names.retry(1)) == 0


async def test_an_answer_lost_after_the_write_was_done_is_written_again_without_harm(
    producer: Producer, store: FaultyStore
) -> None:
    store.fail("Upsert", Fault(S.UNAVAILABLE, "connection reset", after=True))
    await write(producer, 1, 2, 3)
    assert store.calls.count("Upsert") == 2
    assert (await producer.count("docs")).count == 3


@pytest.mark.parametrize("method", ["Query", "Get", "Count"])
async def test_requests_are_answered_with_what_the_store_said(
    method: str, producer: Producer, store: FaultyStore
) -> None:
    ask: dict[str, Any] = {
        "Query": lambda: producer.query("docs", [1.0, 0.0]),
        "Get": lambda: producer.get("docs", [1]),
        "Count": lambda: producer.count("docs"),
    }
    for status, code, number in (
        (S.UNAVAILABLE, "store_unavailable", 503),
        (S.DEADLINE_EXCEEDED, "deadline_exceeded", 504),
        (S.INVALID_ARGUMENT, "rejected_by_store", 422),
        (S.INTERNAL, "store_error", 500),
    ):
        store.fail(method, Fault(status))
        with pytest.raises(RemoteError) as caught:
            await ask[method]()
        assert (caught.value.code, caught.value.status) == (code, number)
    await ask[method]()


@pytest.mark.parametrize("method", ["Query", "Get", "Count"])
async def test_the_store_is_given_what_is_left_of_the_deadline_and_a_hanging_one_is_answered_for_before_it(
    method: str, producer: Producer, store: FaultyStore, amqp: Address
) -> None:
    async with Producer(amqp.url, prefix=amqp.prefix, timeout=2.5) as hasty:
        ask: dict[str, Any] = {
            "Query": lambda: hasty.query("docs", [1.0, 0.0]),
            "Get": lambda: hasty.get("docs", [1]),
            "Count": lambda: hasty.count("docs"),
        }
        await ask[method]()  # its connections are made, and the collection is known
        store.fail(method, Fault(until=asyncio.Event()))
        with pytest.raises(RemoteError) as caught:
            await ask[method]()
        assert (caught.value.code, caught.value.status) == ("store_unavailable", 503)
        assert caught.value.retry_after
    # The readiness probe calls List now and then.
    last = max(place for place, call in enumerate(store.calls) if call == method)
    # Less than the three seconds that this worker gives a call by itself.
    assert 0 < (store.left[last] or 0) < 2.5


async def count_is(producer: Producer, count: int) -> bool:
    return (await producer.count("docs")).count == count


async def depth_is(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count


def test_every_status_code_has_a_row_and_unknown_ones_cost_an_attempt() -> None:
    listed = {row.status for row in ROWS}
    assert listed == set(S) - {S.OK}
    assert find(S.INTERNAL, "", {}).raises is DependencyError
    assert find(S.RESOURCE_EXHAUSTED, "", {}).raises is MessageError
    assert find(S.RESOURCE_EXHAUSTED, "", {"retry-after": "1"}).raises is Throttled
    assert find(S.NOT_FOUND, "Not found: No point with id 7 found", {}).code is ErrorCode.UNKNOWN_POINT
