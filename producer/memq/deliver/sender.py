"""Gets one message to the broker, or a question to its answer, within a deadline and across lost connections."""

from __future__ import annotations

import asyncio
import itertools
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import uuid4

from memq_amqp import Lost, MessageRefused, Refused, Returned, SizeLimit
from memq_amqp.refusals import Fault

from memq.connection.publisher import Deadlines, Message
from memq.connection.replies import Reply, decode_reply
from memq.deliver.attempt import Attempt, nacked, refused, too_large, unroutable
from memq.deliver.tracing import Carried
from memq.errors import BrokerUnavailable, InvalidRequest, ReplyTimeout, Unconfirmed
from memq_schemas import Operation, check_collection, headers, routing_key
from memq_schemas.properties import Properties
from memq_schemas.topology import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from memq.connection.link import Link
    from memq.connection.replies import Pending
    from memq.connection.session import Session
    from memq.deliver.quota import Quota
    from memq.deliver.tracing import Tracing

# The shortest silence for which a connection is given up: elections and slow disks take this long, and reconnecting
# makes nothing of that faster.
SILENT_SECONDS = 5.0

# Safe to ask twice. Writes are too: ids make a second application harmless, and the broker may redeliver anyway.
REPEATABLE = frozenset(Operation) - {Operation.CREATE, Operation.DROP}


class Outgoing(NamedTuple):
    operation: Operation
    collection: str | None
    body: bytes
    content_type: str = headers.JSON
    traceparent: str | None = None
    content_encoding: str | None = None
    lane: str = LIVE

    @property
    def routing_key(self) -> str:
        return routing_key(self.operation, self.collection)


def checked(outgoing: Outgoing, max_bytes: int) -> Outgoing:
    """Return the message. Raises InvalidRequest for an impossible collection name or too large a body."""
    collection, size = outgoing.collection, len(outgoing.body)
    if collection is not None:
        try:
            check_collection(collection if isinstance(cast("object", collection), str) else "")
        except ValueError as error:
            raise InvalidRequest(f"collection: {error}") from None
    if size > max_bytes:
        raise InvalidRequest(f"{size} bytes, max_message_bytes is {max_bytes}")
    return outgoing


class Sender:
    def __init__(self, link: Link, pending: Pending) -> None:
        self._link = link
        self._pending = pending
        self._tracing = tracing()
        self._token = uuid4().hex
        self._numbers = itertools.count(1)
        self._limit = SizeLimit()
        self.quota: Quota | None = None  # of a tenant
        # By length: a producer has one confirm timeout.
        self._deadlines: dict[float, Deadlines] = {}

    def send(self, outgoing: Outgoing, timeout: float) -> Coroutine[Any, Any, None]:
        """Returns when the broker has confirmed. Raises Unconfirmed after `timeout` seconds, and Unroutable."""
        return self.deliver(
            outgoing.routing_key, lambda message_id: self._message(outgoing, message_id), timeout, outgoing.lane
        )

    async def deliver(
        self,
        routing_key: str,
        make: Callable[[str], Message],
        timeout: float,
        lane: str = LIVE,
        exchange: str | None = None,
    ) -> None:
        """Send like `send`. make: builds the message of one attempt, with the message id of that attempt.

        exchange: another one than that of the lane.
        """
        attempt = Attempt()
        if (deadlines := self._deadlines.get(timeout)) is None:
            deadlines = self._deadlines[timeout] = Deadlines(timeout)
        try:
            with deadlines.one():
                while True:
                    session = self._link.current or await self._link.session()
                    if await self._published(session, routing_key, attempt, make(self._message_id()), lane, exchange):
                        return
        except TimeoutError:
            self._check_silence(attempt, timeout)
            raise Unconfirmed(f"{routing_key}: no confirm within {timeout:g} s: {self._hindrance(attempt)}") from None

    def with_trace(self, outgoing: Outgoing) -> Outgoing:
        """Keep the current trace for a later `once`."""
        return outgoing._replace(traceparent=self._tracing.here())

    @property
    def traced(self) -> bool:
        """Return True if what is sent from here belongs to a trace."""
        return self._tracing.here() is not None

    async def once(self, outgoing: Outgoing, timeout: float) -> None:
        """One attempt. Raises Unconfirmed when it failed, or after `timeout` seconds, and Unroutable."""
        attempt = Attempt()
        key = outgoing.routing_key
        try:
            async with asyncio.timeout(timeout):
                session = self._link.current or await self._link.session()
                if await self._published(
                    session, key, attempt, self._message(outgoing, self._message_id()), outgoing.lane
                ):
                    return
        except TimeoutError:
            self._check_silence(attempt, timeout)
        raise Unconfirmed(f"{key}: {self._hindrance(attempt)}")

    async def ask(self, outgoing: Outgoing, timeout: float) -> Reply:
        """The answer. Raises RemoteError, ReplyTimeout after `timeout` seconds, Unroutable and BrokerUnavailable."""
        attempt = Attempt()
        deadline = time.time() + min(timeout, headers.MOST_SECONDS)
        correlation_id = f"{self._token}-{next(self._numbers)}"
        try:
            async with asyncio.timeout(timeout):
                while True:
                    session = self._link.current or await self._link.session()
                    body = await self._asked(session, outgoing, attempt, correlation_id, deadline)
                    if body is not None:
                        return decode_reply(body)
                    if attempt.uncertain and outgoing.operation not in REPEATABLE:
                        raise BrokerUnavailable(
                            f"{outgoing.routing_key}: the connection was lost before the answer arrived; "
                            "it is unknown whether the operation was applied"
                        )
        except TimeoutError:
            self._check_silence(attempt, timeout)
            raise ReplyTimeout(
                f"{outgoing.routing_key}: no answer within {timeout:g} s: {self._hindrance(attempt)}"
            ) from None

    async def _asked(
        self, session: Session, outgoing: Outgoing, attempt: Attempt, correlation_id: str, deadline: float
    ) -> bytes | None:
        try:
            reply_to = await session.replies.name()
        except Lost as error:
            # Nothing was sent, so nothing is uncertain.
            attempt.refused(str(error))
            self._link.drop(session, str(error))
            return None
        except Refused as error:
            attempt.refused(str(error))
            await asyncio.sleep(attempt.pause())
            return None
        message = self._question(outgoing, reply_to, correlation_id, deadline)
        answer = self._pending.expect(correlation_id)
        try:
            if await self._published(session, outgoing.routing_key, attempt, message, outgoing.lane) or answer.done():
                body = await answer
                if body is None:
                    attempt.lost("the connection was lost before the answer came")
                return body
            return None
        finally:
            self._pending.forget(correlation_id)

    async def _published(
        self,
        session: Session,
        routing_key: str,
        attempt: Attempt,
        message: Message,
        lane: str,
        exchange: str | None = None,
    ) -> bool:
        """Return True if the broker confirmed; otherwise another attempt may follow at once."""
        durable = message.properties.delivery_mode == headers.PERSISTENT
        clock = session.writes if durable else session.requests
        attempt.waiting = (session, clock, clock.start())
        publisher = session.publisher
        try:
            self._check_size(message)
            if exchange is not None:
                publisher = await session.other(exchange).required()
            elif lane != LIVE:
                publisher = await session.bulk.publisher() or publisher
            with self._tracing.sending(message, routing_key, session):
                try:
                    await publisher.publish(message, routing_key, clock.confirmed)
                except Returned:
                    raise unroutable(publisher.exchange, routing_key) from None
        except MessageRefused as error:
            attempt.waiting = None
            self._limit.note(error.refusal)
            raise too_large(routing_key, error.refusal) from None
        except Lost as error:
            attempt.lost(str(error))
            if publisher is session.publisher:
                self._link.drop(session, str(error))
            if error.refusal is not None and error.refusal.fault is Fault.SETTINGS:
                raise refused(f"RabbitMQ at {session.address}", publisher.exchange, error.refusal) from error
            if publisher is not session.publisher:  # its channel alone may be gone
                await asyncio.sleep(attempt.pause())
            return False
        except Refused as error:
            attempt.refused(nacked(publisher.exchange, str(error)))
            await self._rejected(attempt, routing_key, publisher.exchange)
            return False
        attempt.confirmed = True
        attempt.waiting = None
        return True

    def _check_size(self, message: Message) -> None:
        """Raise MessageRefused for a message above the limit that the broker has named for an earlier one."""
        if self._limit.bytes is not None:
            self._limit.check(len(message.body))

    async def _rejected(self, attempt: Attempt, routing_key: str, exchange: str) -> None:
        """Wait before the next attempt. Raises QuotaExceeded."""
        if self.quota is not None:
            await self.quota.check(routing_key, exchange, attempt.nacked())
        await asyncio.sleep(attempt.pause())

    def _check_silence(self, attempt: Attempt, timeout: float) -> None:
        if attempt.waiting is None:
            return
        session, clock, start = attempt.waiting
        seconds = clock.seconds(start)
        # The publish itself began a little after its timeout.
        if seconds >= max(timeout * 0.9, SILENT_SECONDS):
            self._link.replace_silent(session, clock, f"no confirm for {seconds:.0f} s, and no alarm")

    def _message(self, outgoing: Outgoing, message_id: str) -> Message:
        own = {} if outgoing.traceparent is None else {headers.TRACEPARENT: outgoing.traceparent}
        return Message(
            outgoing.body,
            _envelope(outgoing.operation, outgoing.content_type, outgoing.content_encoding),
            message_id,
            own,
        )

    def _question(self, outgoing: Outgoing, reply_to: str, correlation_id: str, deadline: float) -> Message:
        message = self._message(outgoing, self._message_id())
        expiration = None
        if not outgoing.operation.is_write:
            message.headers[headers.DEADLINE] = int(deadline * 1000)
            expiration = headers.expiration(deadline - time.time())
        message.properties = message.properties._replace(
            correlation_id=correlation_id, reply_to=reply_to, expiration=expiration
        )
        return message

    def _message_id(self) -> str:
        """One of its own for every attempt: transports match returned messages to confirms by it."""
        return f"{self._token}-{next(self._numbers)}"

    def _hindrance(self, attempt: Attempt) -> str:
        if not self._link.connected:
            return f"no connection to RabbitMQ ({self._link.reason})"
        return attempt.hindrance()


def tracing() -> Tracing:
    """Return the tracing of OpenTelemetry where that is installed; else what carries the caller's context alone."""
    try:
        from memq.deliver.spans import Spans
    except ImportError:
        return Carried()
    return Spans()


@lru_cache(maxsize=64)
def _envelope(operation: Operation, content_type: str, content_encoding: str | None) -> Properties:
    return Properties(
        content_type=content_type,
        content_encoding=content_encoding,
        delivery_mode=headers.PERSISTENT if operation.is_write else headers.TRANSIENT,
        priority=headers.PRIORITY,
        app_id=headers.APP_ID,
    )
