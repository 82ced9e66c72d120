"""What the worker tells OpenTelemetry: spans with their parents and links, and nothing of what messages contain."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from memq_schemas import ErrorCode, headers
from memq_worker.errors import MessageError
from memq_worker.observe.traces import TracedStore, Traces, identify
from memq_worker.observe.tracing import traced
from memq_worker.pipeline.intake import Pipeline
from tests.unit.worker.fakes import NAMES, FakeLink, FakeStore, Watch, delivery, options, upsert

if TYPE_CHECKING:
    from memq_worker.pipeline.delivery import Delivery

CANARY = "canary-19ef"


def parent(number: int) -> tuple[str, str, dict[str, Any]]:
    trace, span = f"{number:032x}", f"{number:016x}"
    return trace, span, {headers.TRACEPARENT: f"00-{trace}-{span}-01"}


async def spans_of(store: Any, *deliveries: Delivery) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    seen: Any = TracedStore(store, "http://qdrant.example:6334", provider)
    pipeline = Pipeline(seen, Watch(), options(), Traces(NAMES, provider))
    for each in deliveries:
        pipeline.accept(each)
    link = deliveries[0].link
    assert isinstance(link, FakeLink)
    await link.settled(len(deliveries))
    await pipeline.drain()
    provider.shutdown()
    return list(exporter.get_finished_spans())


def one(spans: list[ReadableSpan], kind: SpanKind, name: str) -> ReadableSpan:
    (found,) = [span for span in spans if span.kind is kind and span.name.startswith(name)]
    return found


async def test_a_request_is_a_child_of_its_senders_span_and_asks_the_store_in_one_of_its_own() -> None:
    trace, span, context = parent(7)
    spans = await spans_of(
        FakeStore(), delivery(FakeLink(), 1, {"ids": [1]}, key="get.docs", reply_to="r", extra=context)
    )
    process = one(spans, SpanKind.CONSUMER, "process")
    assert process.name == "process memq.commands:get.docs:memq.query"
    assert process.context is not None
    assert process.parent is not None
    assert format_trace_id(process.context.trace_id) == trace
    assert format_span_id(process.parent.span_id) == span
    assert dict(process.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "memq.commands:get.docs:memq.query",
        "messaging.rabbitmq.destination.routing_key": "get.docs",
        "messaging.rabbitmq.message.delivery_tag": 1,
        "messaging.message.conversation_id": "c1",
        "messaging.message.body.size": 12,
    }
    ask = one(spans, SpanKind.CLIENT, "get docs")
    assert ask.parent is not None
    assert ask.parent.span_id == process.context.span_id
    assert dict(ask.attributes or {}) == {
        "db.system.name": "qdrant",
        "db.operation.name": "get",
        "db.collection.name": "docs",
        "server.address": "qdrant.example",
        "server.port": 6334,
    }


async def test_a_write_links_to_every_message_that_has_a_trace() -> None:
    link = FakeLink()
    sent = [delivery(link, n, upsert(n), extra=parent(n)[2]) for n in range(1, 5)]
    spans = await spans_of(
        FakeStore(), *sent, delivery(link, 5, upsert(5)), delivery(link, 6, upsert(6), extra={headers.TRACEPARENT: 7})
    )
    process = one(spans, SpanKind.CONSUMER, "process memq.commands:upsert.docs:memq.write")
    assert process.parent is None
    assert [format_trace_id(each.context.trace_id) for each in process.links] == [parent(n)[0] for n in range(1, 5)]
    assert (process.attributes or {})["messaging.batch.message_count"] == 6
    write = one(spans, SpanKind.CLIENT, "upsert docs")
    assert write.parent is not None
    assert process.context is not None
    assert write.parent.span_id == process.context.span_id
    assert (write.attributes or {})["db.operation.batch.size"] == 6


async def test_the_next_write_is_no_part_of_the_one_before() -> None:
    link = FakeLink()
    big = [delivery(link, n, upsert(*range(40 * n, 40 * n + 40))) for n in range(1, 4)]
    spans = await spans_of(FakeStore(), *big)
    processes = [span for span in spans if span.kind is SpanKind.CONSUMER]
    assert len(processes) == 3
    assert all(span.parent is None for span in processes)
    assert len({span.context.trace_id for span in processes if span.context}) == 3


async def test_a_failure_is_named_by_its_code_and_quotes_nothing() -> None:
    error = MessageError(ErrorCode.REJECTED_BY_STORE, "Qdrant refused", answer=CANARY)
    refusing = FakeStore(refuse=lambda _: error)
    message = delivery(FakeLink(), 1, upsert(1, payload={CANARY: CANARY}), reply_to=CANARY, extra={CANARY: CANARY})
    spans = await spans_of(refusing, message)
    defect = FakeStore(failures=[KeyError(CANARY)])
    spans += await spans_of(defect, delivery(FakeLink(), 1, {"ids": [1]}, key="get.docs"))
    codes = {span.name.split()[0]: (span.attributes or {}).get("error.type") for span in spans[:3]}
    assert codes == {"contract": None, "upsert": "rejected_by_store", "process": "rejected_by_store"}
    assert [(span.attributes or {})["error.type"] for span in spans[3:]] == ["KeyError", "unexpected"]
    failed = [span for span in spans if (span.attributes or {}).get("error.type")]
    assert {span.status.status_code for span in failed} == {StatusCode.ERROR}
    assert CANARY not in "".join(span.to_json() for span in spans)


def test_a_line_logged_within_a_span_has_its_trace() -> None:
    provider = TracerProvider()
    plain, own = logging.makeLogRecord({}), logging.makeLogRecord({"trace_id": "mine"})
    assert identify(plain)
    assert not hasattr(plain, "trace_id")
    with provider.get_tracer("test").start_as_current_span("here") as span:
        assert identify(plain)
        assert identify(own)
        assert plain.__dict__["trace_id"] == format_trace_id(span.get_span_context().trace_id)
        assert own.__dict__["trace_id"] == "mine"
    provider.shutdown()


def test_without_somebody_who_takes_spans_there_are_none() -> None:
    store: Any = FakeStore()
    assert traced(store, "http://localhost:6334", NAMES) == (store, None)


def test_without_the_package_everything_is_as_it_was() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
import memq, memq.deliver.sender, memq_worker.service
from memq_schemas import Names
from memq_worker.observe.tracing import traced
store = object()
assert traced(store, "http://localhost:6334", Names()) == (store, None)
assert type(memq.deliver.sender.tracing()) is memq.deliver.tracing.Carried
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def test_importing_memq_does_not_import_opentelemetry() -> None:
    code = "import sys, memq, memq_worker.pipeline.intake; assert not [m for m in sys.modules if 'opentelemetry' in m]"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("given", ["x" * 10_000, 7, None, b"00", CANARY])
async def test_a_hostile_context_is_no_context(given: Any) -> None:
    extra = {headers.TRACEPARENT: given, "tracestate": given, "baggage": given}
    spans = await spans_of(FakeStore(), delivery(FakeLink(), 1, {"ids": [1]}, key="get.docs", extra=extra))
    process = one(spans, SpanKind.CONSUMER, "process")
    assert process.parent is None
    assert CANARY not in process.to_json()
