from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from memq_amqp import Returned
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from memq import InvalidRequest, trace_context
from memq.deliver.sender import Outgoing, Sender
from memq.deliver.spans import Spans
from memq.deliver.tracing import Carried
from memq.errors import Unroutable
from memq_schemas import Operation, headers
from memq_schemas.tracecontext import trace_id
from tests.unit.producer.test_sender import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
UPSERT = Outgoing(Operation.UPSERT, "docs", b"{}")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


def sender(broker: Any, tracing: Any) -> Sender:
    made = Sender(broker, broker.pending)
    made._tracing = tracing
    return made


async def sent(tracing: Any) -> Any:
    broker = Broker()
    await sender(broker, tracing).send(UPSERT, 5.0)
    (message,) = broker.messages
    return message


async def test_what_the_caller_names_is_carried_without_opentelemetry() -> None:
    assert headers.TRACEPARENT not in (await sent(Carried())).headers
    with trace_context(PARENT):
        assert (await sent(Carried())).headers[headers.TRACEPARENT] == PARENT
    assert headers.TRACEPARENT not in (await sent(Carried())).headers


@pytest.mark.parametrize("wrong", ["", "x", PARENT.upper(), f"00-{'0' * 32}-{SPAN}-01"])
def test_what_is_no_trace_context_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="traceparent"), trace_context(wrong):
        pass


async def test_a_publish_is_a_span_of_the_current_one_and_its_context_is_on_the_message(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with provider.get_tracer("test").start_as_current_span("caller") as caller:
        message = await sent(Spans(provider))
    send = exporter.get_finished_spans()[0]
    assert (send.name, send.kind) == ("send memq.commands:upsert.docs", SpanKind.PRODUCER)
    assert send.parent == caller.get_span_context()
    assert send.context is not None
    carried = message.headers[headers.TRACEPARENT]
    assert trace_id(carried) == format_trace_id(send.context.trace_id)
    assert carried.split("-")[2] == format_span_id(send.context.span_id)
    assert dict(send.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "memq.commands:upsert.docs",
        "messaging.rabbitmq.destination.routing_key": "upsert.docs",
        "messaging.message.id": message.message_id,
        "messaging.message.body.size": 2,
        "server.address": "somewhere",
        "server.port": 5672,
    }


async def test_a_named_context_is_the_parent(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    with trace_context(PARENT):
        message = await sent(Spans(provider))
    (send,) = exporter.get_finished_spans()
    assert send.parent is not None
    assert (format_trace_id(send.parent.trace_id), format_span_id(send.parent.span_id)) == (TRACE, SPAN)
    assert trace_id(message.headers[headers.TRACEPARENT]) == TRACE


async def test_with_the_api_alone_the_context_is_carried_and_no_span_made() -> None:
    with trace_context(PARENT):
        assert (await sent(Spans())).headers[headers.TRACEPARENT] == PARENT


async def test_an_sdk_that_is_set_up_later_is_noticed(
    provider: TracerProvider, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = Spans()
    assert (await sent(spans)).headers == {}
    # What set_tracer_provider sets, once for a process. If it is set elsewhere one day, this fails.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    assert headers.TRACEPARENT in (await sent(spans)).headers
    assert len(exporter.get_finished_spans()) == 1


async def test_a_publish_that_fails_says_so(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    broker = Broker(Returned())
    with pytest.raises(Unroutable):
        await sender(broker, Spans(provider)).send(UPSERT, 5.0)
    (send,) = exporter.get_finished_spans()
    assert (send.attributes or {})["error.type"] == "Unroutable"
