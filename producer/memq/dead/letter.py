"""One dead letter as its envelope describes it. Headers are anybody's: nothing here trusts their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from memq_schemas import headers, parse_routing_key

if TYPE_CHECKING:
    from memq_amqp import Received

    from memq_schemas import Names
    from memq_schemas.properties import Properties
    from memq_schemas.tenants import Whose

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """position: place in the queue, from 1, when it was looked at.   code: one of memq_schemas.ErrorCode as text, or
    what the broker calls its own reason (expired, rejected, maxlen), or "unknown".
    attempts: how often it was tried.   queue: where it came from.   size: bytes of the body.
    tenant: whose it is; None for the operator, "" where nobody can tell.
    message_id, user_id: of the message as its sender published it; the broker has validated the user.
    body: None where only the envelope was asked for.   properties: those the sender or the worker has set.
    """

    position: int
    routing_key: str
    operation: str
    collection: str | None
    code: str
    stage: str | None
    reason: str
    attempts: int
    failed_at: datetime | None
    first_failed_at: datetime | None
    queue: str | None
    worker: str | None
    message_id: str | None
    user_id: str | None
    correlation_id: str | None
    size: int
    properties: dict[str, Any] = field(repr=False)
    headers: dict[str, Any] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    tenant: str | None = None

    def age(self, now: datetime) -> float | None:
        """Seconds since it failed; None where nothing says when."""
        return None if self.failed_at is None else (now - self.failed_at).total_seconds()


def read_letter(position: int, message: Received, whose: Whose, *, with_body: bool = False) -> DeadLetter:
    properties = message.properties
    own = dict(properties.headers)
    operation, collection = _address(message.routing_key)
    # A copy that a worker publishes carries no x-death, so where one stands the broker gave the message up last, and
    # error headers are from an earlier attempt.
    death = _death(own)
    sender = _sender(properties, own, whose.names)
    written = _text(own.get(headers.ERROR_CODE))
    message_text = _text(own.get(headers.EXCEPTION_MESSAGE))
    first = _time(own.get(headers.FIRST_FAILED_AT))
    if death is None:
        code, reason, stage = written or UNKNOWN, message_text or "", _text(own.get(headers.ERROR_STAGE))
        failed_at = _time(own.get(headers.LAST_FAILED_AT)) or first or _stamp(properties)
        queue = _text(own.get(headers.ORIGINAL_QUEUE))
    else:
        code, stage = _text(death.get("reason")) or UNKNOWN, "broker"
        queue = _text(death.get("queue"))
        reason = _broker_reason(code, queue, f"{written}: {message_text or ''}" if written else None)
        failed_at = _time(death.get("time")) or first or _stamp(properties)
    return DeadLetter(
        position=position,
        routing_key=message.routing_key,
        operation=operation,
        collection=collection,
        tenant=whose.dead(own),
        code=code,
        stage=stage,
        reason=reason,
        attempts=_number(own.get(headers.RETRY_COUNT)) + 1,
        failed_at=failed_at,
        first_failed_at=first or failed_at,
        queue=queue,
        worker=_text(own.get(headers.WORKER)),
        message_id=sender.message_id,
        user_id=sender.user_id,
        correlation_id=properties.correlation_id,
        size=len(message.body),
        properties=_shown(properties),
        headers=own,
        body=message.body if with_body else None,
    )


def _address(key: str) -> tuple[str, str | None]:
    try:
        operation, collection = parse_routing_key(key)
    except LookupError:
        return UNKNOWN, None
    except ValueError:
        word, _, rest = key.partition(".")
        return word, rest or None
    return operation.value, collection


def _death(own: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The newest entry of x-death: the broker puts it first."""
    deaths = own.get("x-death")
    if not isinstance(deaths, list) or not deaths:
        return None
    newest = cast("list[Any]", deaths)[0]
    return cast("Mapping[str, Any]", newest) if isinstance(newest, Mapping) else {}


def _broker_reason(code: str, queue: str | None, before: str | None) -> str:
    summary = {
        "delivery_limit": "the broker gave it up after too many deliveries: it may be what ends the workers",
        "expired": "its time to live ran out in the queue",
        "rejected": "a consumer rejected it without a copy of its own",
        "maxlen": "the queue was full",
    }.get(code, "dead-lettered by the broker")
    where = f" (from {queue})" if queue else ""
    return f"{summary}{where}" + (f"; before that {before}" if before else "")


def _sender(properties: Properties, own: Mapping[str, Any], names: Names) -> Properties:
    """The properties with the message id and the user of the first publish, if a worker has noted them.

    A message that the broker moved here without a worker's copy has a client's own headers.
    """
    death = _death(own)
    by_worker = death is None or death.get("queue") == names.suspect or names.has_retried(own.get("x-death"))
    if not by_worker:
        return properties
    message_id = _text(own.get(headers.MESSAGE_ID)) or properties.message_id
    return properties._replace(message_id=message_id, user_id=_text(own.get(headers.USER_ID)) or properties.user_id)


def _shown(properties: Properties) -> dict[str, Any]:
    """The properties that are set; the timestamp as a date where it is one."""
    found = {name: value for name, value in properties._asdict().items() if value is not None and name != "headers"}
    return found if properties.timestamp is None else found | {"timestamp": _stamp(properties) or properties.timestamp}


def _stamp(properties: Properties) -> datetime | None:
    return None if properties.published is None else datetime.fromtimestamp(properties.published, UTC)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else repr(value)


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
