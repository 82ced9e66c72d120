"""A PRODUCER span for each publish, by OpenTelemetry's conventions. Importing this needs the package."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate, trace
from opentelemetry.context import get_current
from opentelemetry.trace import SpanKind, Status, StatusCode

from memq.deliver.tracing import NOTHING, named
from memq_schemas import headers
from memq_schemas.properties import NO_HEADERS

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import TracerProvider

    from memq.connection.publisher import Message
    from memq.connection.session import Session


class Spans:
    """memq.deliver.tracing.Tracing. Without an SDK the spans are none, and the caller's context is still carried."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("memq", version("memq"), provider)
        self._given = provider is not None

    def sending(self, message: Message, routing_key: str, session: Session) -> AbstractContextManager[None]:
        # Most publishes of most programs: the package is there because another one needs it, and nobody uses it.
        if not (self._given or _provided() or get_current() or named.get() or _carried(message)):
            return NOTHING
        return self._span(message, routing_key, session)

    @contextmanager
    def _span(self, message: Message, routing_key: str, session: Session) -> Generator[None]:
        exchange = session.publisher.exchange
        attributes: dict[str, Any] = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": f"{exchange}:{routing_key}",
            "messaging.rabbitmq.destination.routing_key": routing_key,
            "messaging.message.id": message.message_id,
            "messaging.message.body.size": len(message.body),
            "server.address": session.address.host,
            "server.port": session.address.port,
        }
        if message.properties.correlation_id is not None:
            attributes["messaging.message.conversation_id"] = message.properties.correlation_id
        with self._tracer.start_as_current_span(
            f"send {exchange}:{routing_key}",
            context=_parent(message),
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if headers.TRACEPARENT not in message.properties.headers:  # else it is its sender's, published again
                carrier: dict[str, str] = {}
                propagate.inject(carrier)
                message.headers.update(carrier)
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def here(self) -> str | None:
        if (traceparent := named.get()) is not None:
            return traceparent
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier.get(headers.TRACEPARENT)


def _provided() -> bool:
    """Return True if an SDK is configured; cheaper than get_tracer_provider, which costs more than a publish."""
    return getattr(trace, "_TRACER_PROVIDER", trace) is not None


def _parent(message: Message) -> Context | None:
    """Return the trace context of the message, else the caller's; None for the current one."""
    carried = _carried(message) or named.get()
    return propagate.extract({headers.TRACEPARENT: carried}) if isinstance(carried, str) else None


def _carried(message: Message) -> Any:
    given = message.properties.headers
    own = message.headers.get(headers.TRACEPARENT)
    return own if own or given is NO_HEADERS else given.get(headers.TRACEPARENT)
