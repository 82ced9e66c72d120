import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from memq_schemas import ErrorCode, Names, headers
from memq_schemas.properties import Properties
from memq_schemas.topology import LIVE
from memq_worker.errors import MessageError


class Link(Protocol):
    """The life of the channel a delivery came through. Nothing is settled on a later one: tags start again there."""

    @property
    def alive(self) -> bool: ...

    def ack(self, tag: int) -> None: ...

    def nack(self, tag: int) -> None:
        """Hand the delivery back to its queue, together with all others that are handed back."""
        ...

    def reject(self, tag: int) -> None:
        """Give the delivery up: a queue with a dead-letter exchange keeps it there."""
        ...

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Returns once the broker has confirmed.

        Raises Unroutable or Unconfirmed for what the broker answered, BrokerUnavailable when it did not answer.
        """
        ...

    async def accepted(self, exchange: str, routing_key: str, properties: Properties) -> bool:
        """Publish an empty message once. Return False if the broker refuses it, as for a full queue.

        Raises Unroutable and BrokerUnavailable.
        """
        ...

    def abandon(self, reason: str) -> None:
        """End this life; everything unsettled is delivered again."""
        ...


@dataclass(slots=True)
class Times:
    """When a delivery was received, decoded, begun to be written or answered, and done in the store.

    Seconds of `time.perf_counter`; 0 for what has not been reached.
    """

    received: float = field(default_factory=lambda: time.perf_counter())  # noqa: PLW0108  (the clock of now)
    decoded: float = 0.0
    began: float = 0.0
    stored: float = 0.0

    @property
    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.received) * 1000, 3)


@dataclass(slots=True, eq=False)
class Delivery:
    """One AMQP message as handed to us, with the handle that settles it, usable once."""

    link: Link
    tag: int
    queue: str
    routing_key: str
    body: bytes
    properties: Properties
    redelivered: bool = False
    lane: str = LIVE  # of a request without meaning
    tenant: str | None = None  # decided by the broker's exchange; None for the operator
    times: Times = field(default_factory=Times)
    deadline: float | None = None  # epoch seconds by this machine's clock, read on arrival
    settled: bool = False
    place: int = 0  # number of a write in order of arrival, kept while it is parked
    failed: int = 0  # attempts spent here, without a hop through a retry queue
    alone: bool = False  # never merged with others: it may be the message that kills workers

    @property
    def attempt(self) -> int:
        """1-based. The count is our own header: the broker's counts crashes and hand-backs too."""
        return _count(self.properties.headers.get(headers.RETRY_COUNT)) + self.failed + 1

    @property
    def deliveries(self) -> int:
        """Number of earlier deliveries without settlement."""
        return _count(self.properties.headers.get("x-delivery-count"))

    @property
    def first(self) -> bool:
        """Whether no worker has had this message before."""
        return not self.redelivered and not self.deliveries and headers.RETRY_COUNT not in self.properties.headers

    def carried(self, names: Names) -> bool:
        """Return True if a worker published this copy: it came through the quarantine or a retry tier.

        The broker's account of the way is in `x-death`. RabbitMQ before 4.0 leaves one that a client sends as it is.
        """
        return self.queue == names.suspect or names.has_retried(self.properties.headers.get("x-death"))

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self.deadline is None else self.deadline - time.time()


def lane_of(properties: Properties) -> str:
    """The lane that a worker wrote on a message in one of memq's own queues."""
    lane = properties.headers.get(headers.LANE)
    return lane if isinstance(lane, str) and lane else LIVE


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


# Milliseconds from 1973 to 5138. Seconds and microseconds of our time are outside.
_SENSIBLE = range(10**11, 10**14)


def epoch_seconds(deadline: object) -> float:
    """Return the deadline that a header has: epoch milliseconds as a number or as text, or an AMQP timestamp.

    Raises MessageError for anything else, and for numbers that are milliseconds of another age.
    """
    if isinstance(deadline, datetime):
        return deadline.timestamp()
    if isinstance(deadline, str) and len(deadline) <= 20 and deadline.isascii() and deadline.isdigit():
        deadline = int(deadline)
    if not isinstance(deadline, int | float) or isinstance(deadline, bool):
        raise _refused("expected epoch milliseconds, as a number or as text, or an AMQP timestamp")
    if not _SENSIBLE.start <= deadline < _SENSIBLE.stop:
        raise _refused("expected epoch milliseconds; a number of seconds has 10 digits, of milliseconds 13")
    return deadline / 1000


def _refused(reason: str) -> MessageError:
    return MessageError(ErrorCode.INVALID, f"{headers.DEADLINE}: {reason}", stage="decode")


# A deadline that has passed by so much on arrival, of a message that the broker has not expired, is of another clock.
_SKEW_SECONDS = 1.0


class Deadlines:
    """Reads the deadlines of messages as they arrive, by this machine's clock.

    broker_timestamp: the broker overwrites the header `timestamp_in_ms` of every message, so its value can be trusted.
    """

    def __init__(self, *, broker_timestamp: bool = False) -> None:
        self._broker_timestamp = broker_timestamp

    def of(self, properties: Properties, *, first: bool, now: float) -> tuple[float | None, float]:
        """Return the deadline in epoch seconds, or None, and by how many seconds the sender's clock is late.

        first: the message has not been delivered, nor published by a worker, before. Raises MessageError for a
        deadline that is none.
        """
        given = properties.headers.get(headers.DEADLINE)
        if given is None:
            return None, 0.0
        deadline = epoch_seconds(given)
        late = now - deadline
        if not first or late <= _SKEW_SECONDS or (allowed := _allowed(properties)) is None:
            return deadline, 0.0
        # It may wait until its expiration, and has waited for an unknown time unless the broker says when it arrived.
        waited = self._waited(properties, now) if self._broker_timestamp else 0.0
        return now + max(allowed - waited, 0.0), late

    def _waited(self, properties: Properties, now: float) -> float:
        stamp = properties.headers.get(headers.BROKER_TIMESTAMP)
        milliseconds = isinstance(stamp, int) and not isinstance(stamp, bool) and stamp in _SENSIBLE
        return max(now - stamp / 1000, 0.0) if milliseconds and isinstance(stamp, int) else 0.0


def _allowed(properties: Properties) -> float | None:
    """Return the expiration in seconds; None without a valid one."""
    text = properties.expiration
    return int(text) / 1000 if text and len(text) <= 12 and text.isascii() and text.isdigit() else None
