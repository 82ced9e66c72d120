"""The attempts at one message: their state, their deadline, and what a refusal means to the caller."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from memq_amqp.refusals import Kind

from memq.errors import ConfigurationError, MessageTooLarge, TopologyMissing, Unroutable

if TYPE_CHECKING:
    from types import TracebackType

    from memq_amqp.refusals import Refusal

    from memq.connection.publisher import ConfirmClock, Message
    from memq.connection.session import Session


NACK_PAUSE_SECONDS = 0.05
NACK_PAUSE_LIMIT_SECONDS = 1.0


class Attempt:
    """State of the attempts at one message."""

    waiting: tuple[Session, ConfirmClock, float] | None = None
    confirmed = False
    uncertain = False
    _reason: str | None = None
    _nacked: float | None = None
    _pause = NACK_PAUSE_SECONDS

    def lost(self, reason: str) -> None:
        """Nothing more is heard of it; it may have arrived."""
        self._reason = reason
        self.waiting = None
        self.uncertain = True
        self.confirmed = False

    def refused(self, reason: str) -> None:
        """It still waits for a confirm, which another session may give."""
        self._reason = reason
        self.confirmed = False

    def nacked(self) -> float:
        """Return the loop time of the first nack of the message, which is now unless there was one before."""
        if self._nacked is None:
            self._nacked = asyncio.get_running_loop().time()
        return self._nacked

    def pause(self) -> float:
        self._pause, now = min(self._pause * 2, NACK_PAUSE_LIMIT_SECONDS), self._pause
        return now * random.uniform(0.5, 1.0)

    def hindrance(self) -> str:
        if self.confirmed:
            return "the message is queued but no worker has answered; is one running?"
        if self._reason is not None:
            return self._reason
        if self.waiting is not None:
            return "the broker is silent; is it in a memory or disk alarm?"
        return "the broker has not made the reply queue yet"


class Deadlines:
    """Timeouts of equal length, with one timer for all of them, unlike asyncio.timeout.

    `with deadlines.one():` raises TimeoutError when its block takes longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        # Equally long, so the first one to begin is the first one due.
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> Deadline:
        return Deadline(self)

    def begin(self, deadline: Deadline) -> float:
        """When it is due, in the event loop's time."""
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
        # If somebody else has cancelled the task as well, that is for him to hear of.
        if self._passed and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pass_(self) -> None:
        self._passed = True
        self._task.cancel()


class SizeLimit:
    """The broker's limit on a message, once it has named it: publishing above it costs the connection."""

    def __init__(self) -> None:
        self._bytes: int | None = None

    def check(self, routing_key: str, message: Message) -> None:
        """Raise MessageTooLarge for a body above the limit, if it is known."""
        size, limit = len(message.body), self._bytes
        if limit is not None and size > limit:
            raise _too_large(f"{routing_key}: {size} bytes, the broker takes {limit}", limit)

    def named(self, routing_key: str, refusal: Refusal) -> MessageTooLarge:
        """Take note of the limit that the broker has named, and return the error for the message above it."""
        if refusal.kind is Kind.TOO_LARGE:
            self._bytes = refusal.limit
        return _too_large(f"{routing_key}: {refusal}", refusal.limit)


def _too_large(text: str, limit: int | None) -> MessageTooLarge:
    error = MessageTooLarge(f"{text}; send fewer points per message, or raise max_message_size in rabbitmq.conf")
    error.limit = limit
    return error


def nacked(exchange: str, reason: str) -> str:
    """The reason for a nack, which says none. A tenant's lane may be full; a retry clears up either cause in time."""
    if ".t." not in exchange:
        return reason
    return f"{reason}: the tenant's lane is full (limit backlog_bytes), or its queue elects a leader"


def unroutable(exchange: str, routing_key: str) -> Unroutable:
    """The error for a message that the broker had no queue for."""
    if ".t." not in exchange:
        told = "declare memq's topology with `memq-worker declare`, or start a worker"
    elif exchange.endswith(".read"):
        told = "the user may only read"
    else:
        told = "declare the tenant's queues with `memq-worker tenants apply`"
    return Unroutable(f"no queue is bound for {routing_key}: {told}")


def refused(broker: str, exchange: str, refusal: Refusal) -> ConfigurationError:
    """The error for a refusal that lasts until somebody changes a setting of the broker."""
    if refusal.kind is Kind.PERMISSION:
        return ConfigurationError(f"{broker}: the user needs the write permission for exchange {exchange}: {refusal}")
    if refusal.kind is Kind.NOT_FOUND:
        told = "run `memq-worker declare`, or start a worker, and check the prefix"
        return TopologyMissing(f"{broker}: {refusal}: {told}")
    return ConfigurationError(f"{broker}: {refusal}")
