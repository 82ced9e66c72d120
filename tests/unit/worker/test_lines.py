"""One line a write, one a request, one a delivery that got less than it wanted; what they say of a sender."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import ErrorCode, headers
from memq_worker.errors import MessageError
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.lines import cleaned, trace_id, traceparent
from tests.unit.worker.fakes import NAMES, FakeLink, FakeStore, Watch, delivery, options, upsert

if TYPE_CHECKING:
    from memq_worker.pipeline.delivery import Delivery

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


async def settled(store: FakeStore, *deliveries: Delivery) -> FakeLink:
    pipeline = Pipeline(store, Watch(), options())
    for each in deliveries:
        pipeline.accept(each)
    link = deliveries[0].link
    assert isinstance(link, FakeLink)
    await link.settled(len(deliveries))
    await pipeline.drain()
    return link


def fields(record: logging.LogRecord) -> dict[str, Any]:
    plain = logging.makeLogRecord({}).__dict__
    return {
        key: value for key, value in record.__dict__.items() if key not in plain and key not in ("message", "taskName")
    }


async def test_a_write_of_many_messages_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    link = FakeLink()
    await settled(FakeStore(), *(delivery(link, n, upsert(2 * n, 2 * n + 1)) for n in range(1, 11)))
    (line,) = caplog.records
    said = fields(line)
    assert line.getMessage() == "batch written"
    assert said.pop("elapsed_ms") > 0
    assert said.pop("throughput_vec_per_sec") > 0
    assert said == {
        "op": "upsert",
        "queue": NAMES.write,
        "collection": "docs",
        "messages": 10,
        "vector_count": 20,
        "attempt": 1,
        "outcome": "applied",
    }


async def test_a_write_of_one_message_names_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await settled(
        FakeStore(), delivery(FakeLink(), 1, upsert(1), extra={headers.TRACEPARENT: PARENT, "x-retry-count": 2})
    )
    (line,) = caplog.records
    said = fields(line)
    assert (said["correlation_id"], said["trace_id"], said["attempt"]) == ("c1", TRACE, 3)


async def test_a_request_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    extra = {headers.TRACEPARENT: PARENT}
    await settled(FakeStore(), delivery(FakeLink(), 1, {"ids": [1]}, key="get.docs", reply_to="r", extra=extra))
    (line,) = caplog.records
    said = fields(line)
    assert line.getMessage() == "request answered"
    assert said.pop("elapsed_ms") > 0
    assert said == {
        "op": "get",
        "queue": NAMES.query,
        "collection": "docs",
        "attempt": 1,
        "outcome": "answered",
        "correlation_id": "c1",
        "trace_id": TRACE,
    }


REFUSED: list[tuple[Delivery, dict[str, Any]]] = [
    (
        delivery(FakeLink(), 1, b"{"),
        {"op": "upsert", "collection": "docs", "outcome": "dead_lettered", "code": "malformed"},
    ),
    (
        delivery(FakeLink(), 1, b"{", key="count.docs", reply_to="r"),
        {"op": "count", "collection": "docs", "outcome": "refused", "code": "malformed"},
    ),
    (delivery(FakeLink(), 1, {}, key="nonsense"), {"op": "unknown", "outcome": "refused", "code": "unknown_operation"}),
    (
        delivery(FakeLink(), 1, {}, key="upsert.a/b"),
        {"op": "upsert", "outcome": "dead_lettered", "code": "invalid_collection"},
    ),
    (
        delivery(FakeLink(), 1, {}, key="collections.create", reply_to="r"),
        {"op": "collections.create", "outcome": "refused", "code": "invalid_collection"},
    ),
    (
        delivery(FakeLink(), 1, {"ids": [1]}, key="get.docs", extra={headers.DEADLINE: 10**12}),
        {"op": "get", "collection": "docs", "outcome": "expired"},
    ),
]


@pytest.mark.parametrize(("refused", "expected"), REFUSED)
async def test_what_is_not_applied_has_a_warning_of_its_own(
    refused: Delivery, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    refused.settled = False
    await settled(FakeStore(), refused)
    (line,) = caplog.records
    assert (line.getMessage(), line.levelname) == ("delivery not applied", "WARNING")
    said = fields(line)
    assert expected.items() <= said.items()
    assert ("collection" in said) == ("collection" in expected)
    assert {"queue", "attempt", "elapsed_ms", "correlation_id"} <= said.keys()


async def test_a_retry_and_a_quarantine_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = FakeStore(failures=[RuntimeError("odd")])
    await settled(store, delivery(FakeLink(), 1, upsert(1)))
    await settled(store, delivery(FakeLink(), 1, upsert(1), extra={"x-delivery-count": 2}))
    told = [fields(line) for line in caplog.records if line.getMessage() == "delivery not applied"]
    assert (told[0]["outcome"], told[0]["code"]) == ("retried", "unexpected")
    assert len(told) == 2
    assert told[1]["op"] == "upsert"


async def test_at_debug_every_delivery_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    link = FakeLink()
    await settled(FakeStore(), *(delivery(link, n, upsert(n)) for n in range(1, 4)))
    told = [fields(line) for line in caplog.records if line.getMessage() == "delivery settled"]
    assert [(line["outcome"], line["correlation_id"]) for line in told] == [
        ("applied", "c1"),
        ("applied", "c2"),
        ("applied", "c3"),
    ]


async def test_the_reason_of_a_refusal_is_what_others_may_read_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    error = MessageError(ErrorCode.REJECTED_BY_STORE, "Qdrant refused", answer="Qdrant: your secret")
    await settled(FakeStore(refuse=lambda _: error), delivery(FakeLink(), 1, upsert(1), reply_to="r"))
    assert "Qdrant refused" in [fields(line).get("reason") for line in caplog.records]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("given", [PARENT, f"00-{TRACE}-00f067aa0ba902b7-00", f"cc-{TRACE}-00f067aa0ba902b7-01-more"])
async def test_a_trace_context_goes_back_with_the_reply(given: str) -> None:
    link = await settled(
        FakeStore(), delivery(FakeLink(), 1, upsert(1), reply_to="r", extra={headers.TRACEPARENT: given})
    )
    assert [reply.properties.headers for reply in link.published] == [{headers.TRACEPARENT: given}]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "canary",
        7,
        None,
        b"00",
        PARENT.upper(),
        PARENT + "-more",
        PARENT + "\n",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-00f067aa0ba902b7-01",
        f"cc-{TRACE}-00f067aa0ba902b7-01-" + "x" * 200,
    ],
)
async def test_what_is_no_trace_context_is_neither_logged_nor_carried_to_others(given: Any) -> None:
    extra = {headers.TRACEPARENT: given}
    message = delivery(FakeLink(), 1, upsert(1), reply_to="r", extra=extra)
    assert trace_id(message) is None
    assert traceparent(message) is None
    link = await settled(FakeStore(), message)
    assert [reply.properties.headers for reply in link.published] == [{}]


async def test_copies_carry_the_trace_context_on() -> None:
    extra = {headers.TRACEPARENT: PARENT, "tracestate": "vendor=1"}
    store = FakeStore(failures=[RuntimeError("odd")])
    link = await settled(store, delivery(FakeLink(), 1, upsert(1), extra=extra))
    dead = await settled(store, delivery(FakeLink(), 1, b"{", extra=extra))
    for copy in (*link.moved(NAMES.retry(1)), *dead.moved(NAMES.dead)):
        assert extra.items() <= dict(copy.properties.headers).items()
    assert link.moved(NAMES.retry(1))
    assert dead.moved(NAMES.dead)


def test_names_that_senders_chose_are_cut_and_cleaned() -> None:
    assert cleaned("a" * 1000) == "a" * 100
    assert cleaned("a\nb\x1b[2J\u202e\x00\x9bc") == "a?b?[2J???c"
    assert cleaned(7) == "7"
