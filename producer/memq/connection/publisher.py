"""Publishing to one exchange with confirms: the message, its publisher, and the limits of time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from memq_amqp import Envelope, encode

from memq_schemas.headers import SENT
from memq_schemas.properties import NO_HEADERS, ChangedHeaders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    import memq_amqp

    from memq_schemas.properties import Properties


def _now() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Message:
    """One attempt at a publish.

    properties: the envelope, but for what follows.   message_id: no other attempt's, since transports match returned
    messages to confirms by it.   headers: beside those of the properties; tracing adds to them.
    sent_ms: epoch milliseconds; None for a message that keeps the times that its sender gave.
    """

    body: bytes
    properties: Properties
    message_id: str
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    sent_ms: int | None = field(default_factory=_now)

    def whole(self) -> Properties:
        given, headers, timestamp = self.properties.headers, self.headers, self.properties.timestamp
        if self.sent_ms is not None:
            headers, timestamp = {SENT: self.sent_ms, **headers}, self.sent_ms // 1000
        own = ChangedHeaders(given, added=headers) if given and headers else given or headers
        return self.properties._replace(headers=own, message_id=self.message_id, timestamp=timestamp)


class ConfirmClock:
    """Time without a confirm in one session, whether the broker is silent or refuses every publish.

    A channel opened while a quorum queue elects its leader can be refused for ever (RabbitMQ 3.10.8), and another one
    of the same broker at the same time is not. Not idle time: it runs only from a publish on.
    """

    def __init__(self) -> None:
        self.last_confirm = monotonic()
        self._first: float | None = None  # when the first publish after that began

    def start(self) -> float:
        """A publish begins now, in the time of `seconds`."""
        now = monotonic()
        if self._first is None:
            self._first = now
        return now

    def confirmed(self) -> None:
        """Note that the broker has confirmed or returned a message."""
        self.last_confirm = monotonic()
        self._first = None

    def seconds(self, start: float) -> float:
        """Seconds without a confirm since a publish that still waits."""
        first = self.last_confirm if self._first is None or start < self.last_confirm else self._first
        return monotonic() - first


class Deadlines:
    """Timeouts of equal length, with one timer for all of them, unlike asyncio.timeout.

    `with deadlines.one():` raises TimeoutError when its block takes longer than `seconds`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        # Equally long, so the first one to begin is the first one due.
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> Deadline:
        return Deadline(self)

    def begin(self, deadline: Deadline) -> float:
        """Time at which it is due, on the event loop's clock."""
        self._running[deadline] = None
        due = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._passed)
        return due

    def end(self, deadline: Deadline) -> None:
        self._running.pop(deadline, None)

    def _passed(self) -> None:
        self._timer = None
        now = self._loop.time()
        for deadline in list(self._running):
            if deadline.due > now:
                self._timer = self._loop.call_at(deadline.due, self._passed)
                break
            del self._running[deadline]
            deadline.pass_()


class Deadline:
    __slots__ = ("_cancels", "_of", "_passed", "_task", "due")

    def __init__(self, of: Deadlines) -> None:
        self._of = of
        self._passed = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._task = task
        self._cancels = task.cancelling()
        self.due = self._of.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._of.end(self)
        # A cancel by another caller goes on to that caller.
        if self._passed and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pass_(self) -> None:
        self._passed = True
        self._task.cancel()


class Publisher:
    """Confirmed, mandatory publishing to one exchange, on a channel that nobody else uses."""

    def __init__(self, publisher: memq_amqp.Publisher, exchange: str) -> None:
        self._publisher = publisher
        self.exchange = exchange

    def publish(self, message: Message, routing_key: str, on_confirm: Callable[[], None]) -> Awaitable[None]:
        """Return once the broker has confirmed; there is no timeout.

        on_confirm: called when the broker has confirmed the message, or returned it because no queue takes it. Raises
        memq_amqp's Returned, Refused, Lost and MessageRefused.
        """
        return self._publisher.publish_encoded(
            self.exchange, routing_key, message.body, message.message_id, _encoded(message), on_confirm
        )

    def close(self, reason: str) -> None:
        """Expect nothing more of the broker. Who waits is told Lost, at once or when the connection is closed."""
        self._publisher.close(reason)


def _encoded(message: Message) -> bytes:
    properties = message.properties
    sent_ms = message.sent_ms
    # A message of the producer's own: of its envelopes few differ in more than id and time.
    if (
        properties.headers is NO_HEADERS
        and not message.headers
        and properties.correlation_id is None
        and sent_ms is not None
    ):
        return _envelope(properties).encoded(message.message_id, sent_ms)
    return encode(message.whole())


# What writes have in common: a few content types.
_envelope = lru_cache(maxsize=64)(Envelope)
