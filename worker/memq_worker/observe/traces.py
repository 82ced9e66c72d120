"""Spans by OpenTelemetry's conventions for messaging and databases. Importing this needs the package."""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider
from yarl import URL

from memq_schemas import Names
from memq_worker.errors import WorkerError
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.lines import cleaned
from memq_worker.pipeline.store import Store

_CONTEXT_LIMIT = 8192  # characters of one header, as W3C baggage


def provided() -> bool:
    """Return True if an OpenTelemetry SDK was installed and configured before the worker started."""
    provider = trace.get_tracer_provider()
    return not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)


class Traces:
    """pipeline.tracing.Tracing: a CONSUMER span for each request, as a child of its sender's, and for each write.

    A write has many senders, so it begins a trace of its own and links to theirs.
    """

    def __init__(self, names: Names, provider: TracerProvider | None = None) -> None:
        self._names = names
        self._tracer = trace.get_tracer("memq_worker", version("memq"), provider)

    @contextmanager
    def request(self, delivery: Delivery) -> Generator[None]:
        attributes = self._about(delivery) | _identity(delivery)
        with self._span(attributes, _context(delivery), ()):
            yield

    @contextmanager
    def write(self, deliveries: Sequence[Delivery]) -> Generator[None]:
        first = deliveries[0]
        attributes = self._about(first) | {"messaging.batch.message_count": len(deliveries)}
        if len(deliveries) == 1:
            attributes |= _identity(first)
        with self._span(attributes, Context(), [link for each in deliveries for link in _links(each)]):
            yield

    def failed(self, code: str) -> None:
        span = trace.get_current_span()
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR))

    def _about(self, delivery: Delivery) -> dict[str, Any]:
        key = cleaned(delivery.routing_key)
        return {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": f"{self._names.commands}:{key}:{delivery.queue}",
            "messaging.rabbitmq.destination.routing_key": key,
        }

    @contextmanager
    def _span(self, attributes: dict[str, Any], parent: Context, links: Sequence[Link]) -> Generator[None]:
        with self._tracer.start_as_current_span(
            f"process {attributes['messaging.destination.name']}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            # Its text would be in the span.
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield


def _identity(delivery: Delivery) -> dict[str, Any]:
    properties = delivery.properties
    known = {
        "messaging.message.id": properties.message_id,
        "messaging.message.conversation_id": properties.correlation_id,
    }
    fields: dict[str, Any] = {name: cleaned(value) for name, value in known.items() if value is not None}
    return fields | {
        "messaging.rabbitmq.message.delivery_tag": delivery.tag,
        "messaging.message.body.size": len(delivery.body),
    }


def _context(delivery: Delivery) -> Context:
    headers = delivery.properties.headers
    given = {name: headers.get(name) for name in propagate.get_global_textmap().fields}
    carrier = {name: value for name, value in given.items() if isinstance(value, str) and len(value) <= _CONTEXT_LIMIT}
    # Of a context of its own: what runs here now is not what sent the message.
    return propagate.extract(carrier, context=Context())


def _links(delivery: Delivery) -> list[Link]:
    if not delivery.properties.headers:
        return []
    sender = trace.get_current_span(_context(delivery)).get_span_context()
    return [Link(sender, _identity(delivery))] if sender.is_valid else []


class TracedStore:
    """Any pipeline.store.Store, with a CLIENT span around each of its calls."""

    def __init__(self, store: Store, url: str, provider: TracerProvider | None = None) -> None:
        where = URL(url)
        self._store = store
        self._tracer = trace.get_tracer("memq_worker", version("memq"), provider)
        self._server = {"server.address": where.host or "", "server.port": where.explicit_port or 6334}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        async def traced(*given: Any, **named: Any) -> Any:
            collection = given[0] if given and isinstance(given[0], str) else None
            with self._span(name, collection, len(given[1]) if name == "upsert" else None):
                return await call(*given, **named)

        return traced

    @contextmanager
    def _span(self, operation: str, collection: str | None, points: int | None) -> Generator[None]:
        attributes: dict[str, Any] = {"db.system.name": "qdrant", "db.operation.name": operation, **self._server}
        if collection is not None:
            attributes["db.collection.name"] = collection
        if points is not None:
            attributes["db.operation.batch.size"] = points
        with self._tracer.start_as_current_span(
            operation if collection is None else f"{operation} {collection}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute(
                    "error.type", error.code.value if isinstance(error, WorkerError) else type(error).__name__
                )
                span.set_status(Status(StatusCode.ERROR))
                raise


def identify(record: logging.LogRecord) -> bool:
    """A filter that drops nothing: gives a line the trace that it was logged in, if it has none of its sender's."""
    here = trace.get_current_span().get_span_context()
    if here.is_valid and not hasattr(record, "trace_id"):
        record.trace_id = trace.format_trace_id(here.trace_id)
    return True
