"""The lines of the log: one for each write and each request, one for each delivery that did not get what it wanted.

Fields have one name everywhere: op, queue, collection, attempt, outcome, code, correlation_id, trace_id, elapsed_ms. Of
what a message contains nothing is said; what its sender chose as an address or a name is cut and cleaned.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from memq_schemas import Operation, Queries, headers, parse_routing_key, tracecontext
from memq_worker.errors import WorkerError
from memq_worker.pipeline.command import Request, Write
from memq_worker.pipeline.delivery import Delivery

logger = logging.getLogger(__name__)

_ID_LIMIT = 100  # characters
_REASON_LIMIT = 300


def traceparent(delivery: Delivery) -> str | None:
    """The sender's trace context, if it has the shape of one."""
    given = delivery.properties.headers.get(headers.TRACEPARENT)
    return None if tracecontext.trace_id(given) is None else given


def trace_id(delivery: Delivery) -> str | None:
    """32 hexadecimal digits."""
    return tracecontext.trace_id(delivery.properties.headers.get(headers.TRACEPARENT))


def cleaned(name: object) -> str:
    """A name that a sender chose, fit for a log: cut, and without what a terminal or a reader of lines would act on."""
    text = str(name)[:_ID_LIMIT]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def operation_label(delivery: Delivery) -> str:
    """A bounded label: one of the operations, or "unknown"."""
    return _operation_label(delivery.routing_key)


@lru_cache(maxsize=1024)
def _operation_label(routing_key: str) -> str:
    try:
        return parse_routing_key(routing_key)[0].value
    except LookupError:
        return "unknown"
    except ValueError:
        # A collection that may not be called so: the operation is known.
        return next(op.value for op in Operation if routing_key.startswith(f"{op.value}.") or routing_key == op.value)


def _collection(delivery: Delivery) -> str | None:
    try:
        return parse_routing_key(delivery.routing_key)[1]
    except (LookupError, ValueError):
        return None


def tenant_field(delivery: Delivery) -> dict[str, str]:
    """The tenant whose message it is, as a field; none for the operator."""
    return {} if delivery.tenant is None else {"tenant": delivery.tenant}


def _sender(delivery: Delivery) -> dict[str, str]:
    fields = tenant_field(delivery)
    if delivery.properties.message_id is not None:
        fields["message_id"] = cleaned(delivery.properties.message_id)
    if delivery.properties.correlation_id is not None:
        fields["correlation_id"] = cleaned(delivery.properties.correlation_id)
    if (trace := trace_id(delivery)) is not None:
        fields["trace_id"] = trace
    return fields


def clock_skewed(delivery: Delivery, seconds: float) -> None:
    """`seconds`: by how much the deadline had passed when the message arrived, which the broker had not expired."""
    fields: dict[str, Any] = {"op": operation_label(delivery), "late_seconds": round(seconds, 1)}
    if delivery.properties.app_id is not None:
        fields["app_id"] = cleaned(delivery.properties.app_id)
    logger.warning("clock of a sender skewed, deadline replaced", extra=fields | _sender(delivery))


def discarded(delivery: Delivery) -> None:
    """Log that a message of a removed tenant is discarded."""
    fields: dict[str, Any] = {"op": operation_label(delivery), "queue": cleaned(delivery.queue)}
    logger.warning("message of a removed tenant discarded", extra=fields | _sender(delivery))


def request_answered(request: Request, elapsed_ms: float) -> None:
    delivery = request.delivery
    if not logger.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {"op": request.operation.value, "queue": delivery.queue}
    if request.collection is not None:
        fields["collection"] = cleaned(request.collection)
    if isinstance(request.body, Queries):
        fields["queries"] = len(request.body.queries)
    fields |= {"attempt": delivery.attempt, "outcome": "answered", "elapsed_ms": elapsed_ms}
    logger.info("request answered", extra=fields | _sender(delivery))


def batch_written(applied: Sequence[Write], points: int, seconds: float) -> None:
    """`points` are the points, or the ids, that the write took; `seconds` how long the store needed for it."""
    first = applied[0]
    fields: dict[str, Any] = {
        "op": first.operation.value,
        "queue": first.delivery.queue,
        "collection": cleaned(first.collection),
        "messages": len(applied),
        "vector_count": points,
        "attempt": max(command.delivery.attempt for command in applied),
        "outcome": "applied",
        "elapsed_ms": round(seconds * 1000, 3),
        "throughput_vec_per_sec": round(points / seconds, 1) if seconds else 0.0,
    }
    if len(applied) == 1:
        fields |= _sender(first.delivery)
    logger.info("batch written", extra=fields)


def delivery_settled(delivery: Delivery, outcome: str, error: WorkerError | None, *, ordinary: bool) -> None:
    """Log at debug for an `ordinary` outcome, which its write or request has logged; otherwise at warning."""
    level = logging.DEBUG if ordinary else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"op": operation_label(delivery), "queue": cleaned(delivery.queue)}
    if (collection := _collection(delivery)) is not None:
        fields["collection"] = cleaned(collection)
    fields |= {"attempt": delivery.attempt, "outcome": outcome}
    if error is not None:
        fields |= {"code": error.code.value, "reason": error.message[:_REASON_LIMIT]}
    fields["elapsed_ms"] = delivery.times.elapsed_ms
    message = "delivery settled" if ordinary else "delivery not applied"
    logger.log(level, message, extra=fields | _sender(delivery))
