import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

import orjson

from memq_schemas import ErrorCode, ErrorReply, Names, error_reply, headers
from memq_schemas.properties import ChangedHeaders, Properties, legible
from memq_schemas.topology import LIVE
from memq_worker.errors import BrokerUnavailable, DependencyError, MessageError, Unconfirmed, Unroutable, WorkerError
from memq_worker.pipeline import lines
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.lines import operation_label
from memq_worker.pipeline.outcome import (
    DeadLetter,
    Done,
    Expire,
    Outcome,
    Quarantine,
    Refuse,
    Release,
    Retry,
    described,
)
from memq_worker.pipeline.ports import Observer, Tracing
from memq_worker.pipeline.reply_to import ReplyTo
from memq_worker.pipeline.spaces.spaces import NO_TENANTS, Spaces

logger = logging.getLogger(__name__)

_NO_ROOM = "headers: too large for a copy of this message, whose headers have to fit one frame"
# Written again by the worker where they apply; a client's own are dropped.
_OWN = frozenset((headers.LANE, headers.PARKED, headers.TENANT))
_MESSAGE_LIMIT = 300  # characters of an error text in a header: all headers have to fit one frame


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """max_bytes: of a reply's body.   ttl_seconds: until a reply expires that answers a message without a deadline."""

    max_bytes: int = 8 * 2**20
    ttl_seconds: float = 3600.0


class Settler:
    """Tells the broker, and the sender who asked, how a delivery ended. Each delivery once."""

    def __init__(
        self,
        names: Names,
        worker: str,
        observer: Observer,
        reply_to: ReplyTo,
        tracing: Tracing | None = None,
        replies: ReplyOptions = ReplyOptions(),
        spaces: Spaces = NO_TENANTS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._names = names
        self._worker = worker
        self._observer = observer
        self._reply_to = reply_to
        self._tracing = tracing
        self._replies = replies
        self._spaces = spaces
        self._now = now

    async def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        if delivery.settled or not delivery.link.alive:
            return
        delivery.settled = True
        if delivery.tenant is not None:
            outcome = self._spaces.retold(delivery.tenant, outcome)
        try:
            outcome = await self._act(delivery, outcome)
        except (BrokerUnavailable, Unconfirmed, Unroutable) as error:
            # Acknowledging without a confirmed copy would lose the message. On a new connection the topology is
            # declared again and the broker delivers what is unsettled.
            delivery.link.abandon(str(error))
            return
        except Exception:
            # Headers that cannot be written again, say. Left unsettled it would fill the prefetch window for good, and
            # handed back it would come again: the broker's own dead-lettering needs nothing from us.
            logger.exception("settlement failed, delivery abandoned", extra={"queue": delivery.queue})
            delivery.link.reject(delivery.tag)
            outcome = DeadLetter(DependencyError(ErrorCode.UNEXPECTED, "settlement failed", stage="settle"))
        self._count(delivery, outcome)

    def acknowledge(self, operation: str, outcome: str, deliveries: Sequence[Delivery]) -> None:
        """Settles deliveries that ended alike and want no reply, without leaving the caller."""
        settled: list[Delivery] = []
        for delivery in deliveries:
            if not delivery.settled and delivery.link.alive:
                delivery.settled = True
                delivery.link.ack(delivery.tag)
                settled.append(delivery)
        if settled:
            self._observer.settled(operation, outcome, settled)
            if lines.logger.isEnabledFor(logging.DEBUG):
                for delivery in settled:
                    lines.delivery_settled(delivery, outcome, None, ordinary=True)

    async def _act(self, delivery: Delivery, outcome: Outcome) -> Outcome:
        """Perform the outcome, and return what it came to."""
        link, tag = delivery.link, delivery.tag
        match outcome:
            case Done():
                if delivery.properties.reply_to:
                    reply = {"status": 200, "result": outcome.result, "elapsed_ms": delivery.times.elapsed_ms}
                    body = orjson.dumps(reply)
                    if len(body) > self._replies.max_bytes:
                        return await self._act(delivery, Refuse(self._too_large()))
                    await self._reply(delivery, body)
                link.ack(tag)
            case Retry() | DeadLetter() | Quarantine():
                return await self._pass_on(delivery, outcome)
            case Release() if delivery.alone:
                # Handed back by hand: RabbitMQ before 4.3 counts a nack as it counts a crash, and the suspects' queue
                # gives a message up after a few. Who hands a message back has not been killed by it.
                return await self._pass_on(delivery, outcome)
            case Refuse():
                await self._reply_error(delivery, outcome.error)
                link.ack(tag)
            case Expire():
                link.ack(tag)
            case Release():
                link.nack(tag)
            case _ as never:
                assert_never(never)
        return outcome

    def _tier(self, delivery: Delivery, seconds: int) -> str:
        """The retry tier that returns a message to the lane it came from."""
        return self._names.retry(seconds, internal=delivery.lane != LIVE or delivery.tenant is not None)

    async def _pass_on(self, delivery: Delivery, outcome: Retry | DeadLetter | Quarantine | Release) -> Outcome:
        """Publish a copy, then acknowledge. A message of which no copy can be published becomes a dead letter."""
        error, attempts, place = None, delivery.attempt - 1, ""
        match outcome:
            case Retry():
                exchange, error = self._tier(delivery, outcome.seconds), outcome.error
                attempts, place = delivery.attempt - (not outcome.spends), outcome.place
            case DeadLetter():
                exchange, error = self._names.dead, outcome.error
            case _:
                exchange = self._names.suspect
        if not await self._move(delivery, exchange, error, attempts, place):
            return await self._gave_up(delivery, error or MessageError(ErrorCode.TOO_LARGE, _NO_ROOM, stage="settle"))
        if isinstance(outcome, Retry):
            self._observer.retried(outcome.seconds)
        elif isinstance(outcome, DeadLetter):
            self._observer.dead_lettered(outcome.error.code.value)
            # The copy first: were the reply first, a crash between would answer the same message twice.
            await self._reply_error(delivery, outcome.error)
        delivery.link.ack(delivery.tag)
        return outcome

    async def _gave_up(self, delivery: Delivery, error: WorkerError) -> DeadLetter:
        """Reject the message itself, which the broker keeps unchanged as a dead letter, and answer its sender."""
        delivery.link.reject(delivery.tag)
        self._observer.dead_lettered(error.code.value)
        await self._reply_error(delivery, error)
        return DeadLetter(error)

    async def _move(
        self, delivery: Delivery, exchange: str, error: WorkerError | None, attempts: int, place: str = ""
    ) -> bool:
        """Publish a copy. Returns False if no broker takes one: its headers do not fit a frame."""
        added: dict[str, Any] = {headers.RETRY_COUNT: attempts}
        if delivery.lane != LIVE or delivery.tenant is not None:
            added[headers.LANE] = delivery.lane
        if place:
            added[headers.PARKED] = place
        if delivery.tenant is not None:
            added[headers.TENANT] = delivery.tenant
        if error is not None:
            added |= self._failure(delivery, error)
        given, dropped = delivery.properties, _OWN
        if not delivery.carried(self._names):
            dropped |= headers.ORIGIN
            added |= _origin(given)
        # As its sender published it. Its user the broker accepts of him alone, and expiring is for requests.
        copy = given._replace(
            headers=ChangedHeaders(given.headers, names=dropped, prefixes=headers.BROKER_PREFIXES, added=added),
            user_id=None,
            expiration=None,
        )
        copies = [copy]
        if delivery.tenant is not None:
            # Rejected, a tenant's message would become a dead letter with all its headers, and RabbitMQ before 4.0
            # takes its own account of the exchange from an `x-death` among them. So the sender's headers go first.
            copies.append(copy._replace(headers=added))
        reason = ""
        for each in copies:
            try:
                await delivery.link.publish(exchange, delivery.routing_key, delivery.body, each)
            except ValueError as refused:
                reason = str(refused)
            else:
                return True
        fields = {"queue": delivery.queue, "reason": reason} | lines.tenant_field(delivery)
        logger.warning("copy refused, message rejected", extra=fields)
        return False

    def _failure(self, delivery: Delivery, error: WorkerError) -> dict[str, Any]:
        now = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        cause = error.__cause__ or error
        return {
            headers.ERROR_CODE: error.code.value,
            headers.ERROR_STAGE: error.stage,
            headers.EXCEPTION_CLASS: type(cause).__name__,
            headers.EXCEPTION_MESSAGE: error.message[:_MESSAGE_LIMIT],
            headers.FIRST_FAILED_AT: _time(delivery.properties.headers.get(headers.FIRST_FAILED_AT)) or now,
            headers.LAST_FAILED_AT: now,
            headers.ORIGINAL_QUEUE: delivery.queue,
            headers.WORKER: self._worker,
        }

    async def _reply_error(self, delivery: Delivery, error: WorkerError) -> None:
        reply = refusal(error, delivery.times.elapsed_ms)
        await self._reply(delivery, orjson.dumps(reply.model_dump(exclude_none=True)))

    def _too_large(self) -> MessageError:
        most = self._replies.max_bytes
        return MessageError(
            ErrorCode.TOO_LARGE,
            f"reply: more than {most} bytes, the most that this worker sends; ask for fewer points or less of each",
            stage="answer",
        )

    async def _reply(self, delivery: Delivery, body: bytes) -> None:
        address = delivery.properties.reply_to
        if not address:
            return
        tenant = delivery.tenant
        if not self._reply_to.accepts(address, tenant):
            self._reply_to.withhold(delivery)
            self._observer.replied("refused")
            return
        left = delivery.time_left
        if left is not None and left <= 0:
            self._observer.replied("undeliverable")  # nobody waits for it any more
            return
        trace = lines.traceparent(delivery)
        properties = Properties(
            content_type=headers.JSON,
            correlation_id=delivery.properties.correlation_id,
            delivery_mode=headers.TRANSIENT,
            priority=headers.PRIORITY,
            expiration=headers.expiration(self._replies.ttl_seconds if left is None else left),
            timestamp=int(time.time()),
            app_id=headers.APP_ID,
            headers={} if trace is None else {headers.TRACEPARENT: trace},
        )
        try:
            exchange = "" if tenant is None else self._names.replies(tenant)
            await delivery.link.publish(exchange, address, body, properties)
        except (Unroutable, Unconfirmed):
            # The caller has left, its queue is full, or the broker refuses the reply. Nobody else wants it.
            self._observer.replied("undeliverable")
        else:
            self._observer.replied("sent")

    def _count(self, delivery: Delivery, outcome: Outcome) -> None:
        label, error = described(outcome)
        operation = operation_label(delivery)
        code = error.code.value if error is not None else ""
        self._observer.settled(operation, label, (delivery,), code)
        if code and self._tracing is not None:
            self._tracing.failed(code)
        lines.delivery_settled(delivery, label, error, ordinary=isinstance(outcome, Done | Release))


def refusal(error: WorkerError, elapsed_ms: float) -> ErrorReply:
    """Return the reply that names the error."""
    retry_after = getattr(error, "retry_after_seconds", None)
    return error_reply(error.code, legible(error.answer), elapsed_ms, retry_after)


def _origin(given: Properties) -> dict[str, Any]:
    """The sender's own message id, and the user that the broker has validated."""
    found = {headers.MESSAGE_ID: given.message_id, headers.USER_ID: given.user_id}
    return {name: value for name, value in found.items() if value}


def _time(value: object) -> str | None:
    """The header of an earlier attempt; anybody can send one, so it has to be a time."""
    try:
        return value if isinstance(value, str) and len(value) < 40 and datetime.fromisoformat(value) else None
    except ValueError:
        return None
