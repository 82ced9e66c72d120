"""Trace context on messages: the one that the caller names, or OpenTelemetry's where that is installed."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from memq.errors import InvalidRequest
from memq_schemas import headers
from memq_schemas.tracecontext import trace_id

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from memq.connection.publisher import Message
    from memq.connection.session import Session

NOTHING = nullcontext()

named: ContextVar[str | None] = ContextVar("memq-traceparent", default=None)
"""The `traceparent` of the innermost `trace_context`."""


@contextmanager
def trace_context(traceparent: str) -> Generator[None]:
    """Attach the messages sent inside to this trace: a W3C `traceparent`, for example from an HTTP request's header.

    The worker's log lines carry its trace id, and replies, retries and dead letters the value as it is. Not needed with
    OpenTelemetry, whose current span is the parent of what is sent. Raises InvalidRequest for anything else.
    """
    if trace_id(traceparent) is None:
        raise InvalidRequest("traceparent: expected 00-<32 hexadecimal digits>-<16>-<2>, lower case, ids not zero")
    token = named.set(traceparent)
    try:
        yield
    finally:
        named.reset(token)


class Tracing(Protocol):
    def sending(self, message: Message, routing_key: str, session: Session) -> AbstractContextManager[None]:
        """Trace the publishing of one message. Adds the trace context to its headers, if they have none."""
        ...

    def here(self) -> str | None:
        """The `traceparent` of what is sent from here, for what is sent later."""
        ...


class Carried:
    """Without OpenTelemetry: what the caller names is carried, and nothing is recorded."""

    def sending(self, message: Message, routing_key: str, session: Session) -> AbstractContextManager[None]:
        traceparent = named.get()
        if traceparent is not None and headers.TRACEPARENT not in message.properties.headers:
            message.headers.setdefault(headers.TRACEPARENT, traceparent)
        return NOTHING

    def here(self) -> str | None:
        return named.get()
