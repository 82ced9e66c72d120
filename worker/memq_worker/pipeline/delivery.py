import time
from dataclasses import dataclass, field
from typing import Protocol

from memq_schemas import Names, headers
from memq_schemas.properties import Properties
from memq_schemas.topology import LIVE


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

    def abandon(self, reason: str) -> None:
        """End this life; everything unsettled is delivered again."""
        ...


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
    # Looked up at each call, so that a simulated clock can stand there.
    received: float = field(default_factory=lambda: time.perf_counter())  # noqa: PLW0108
    # When it was decoded, when its write or answer began, and when the store was done with it: as `received`, or 0.
    deadline: float | None = None  # epoch seconds by this machine's clock, read on arrival
    decoded: float = 0.0
    began: float = 0.0
    stored: float = 0.0
    settled: bool = False
    place: int = 0  # number of a write in order of arrival, kept while it is parked
    failed: int = 0  # attempts spent here, without a hop through a retry queue
    alone: bool = False  # never merged with others: it may be the message that kills workers

    @property
    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.received) * 1000, 3)

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
