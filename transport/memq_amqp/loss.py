"""What becomes of a publish that is not confirmed, and how a lost connection differs from a cancelled task."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memq_amqp.refusals import LOSSES, Kind, Refusal, refusal_of
from memq_amqp.tasks import cancels

if TYPE_CHECKING:
    from collections.abc import Generator


class Lost(Exception):
    """The channel or connection is gone; whether the broker has the message is unknown.

    refusal: why, where the broker or the system has said so.
    """

    def __init__(self, reason: str, refusal: Refusal | None = None) -> None:
        super().__init__(reason)
        self.refusal = refusal

    @property
    def kind(self) -> Kind:
        """Kind of the refusal; Kind.LOST without one."""
        return Kind.LOST if self.refusal is None else self.refusal.kind


class Refused(Exception):
    """The broker nacked the message: a full queue, or a quorum queue electing its leader."""

    def __init__(self, text: str = "the broker refused the message (queue full, or it is electing a leader)") -> None:
        super().__init__(text)


class Returned(Exception):
    """No queue takes messages of this exchange and routing key."""


class MessageRefused(ValueError):
    """The broker takes no such message, however often it is published; it has not got it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class SizeLimit:
    """The broker's limit on a message body, once it has named it: each publish above it costs a channel.

    bytes: None until the broker has named it. Callers look at it before `check`, so that most publishes cost no call.
    """

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes: int | None = None

    def check(self, size: int) -> None:
        """Raise MessageRefused for a body of `size` bytes above the limit."""
        limit = self.bytes
        if limit is not None and size > limit:
            text = f"message size {size} is larger than max size {limit}"
            raise MessageRefused(Refusal(Kind.TOO_LARGE, text, limit=limit))

    def note(self, refusal: Refusal) -> None:
        """Remember the limit, if the refusal names it."""
        if refusal.kind is Kind.TOO_LARGE:
            self.bytes = refusal.limit


def outcome_of(error: BaseException | None, size: int) -> Exception:
    """What the end of a channel, by `error`, means for a message with a body of `size` bytes."""
    refusal = None if error is None else refusal_of(error)
    if refusal is None:
        return Lost(str(error or "") or "the channel was closed")
    if refusal.kind is Kind.TOO_LARGE and refusal.limit is not None and size > refusal.limit:
        return MessageRefused(refusal)
    return Lost(str(refusal), refusal)


@contextmanager
def cancellable() -> Generator[None]:
    """Enclose calls of aio_pika and aiormq, so that no cancel of this task is lost and no loss looks like a cancel.

    Raise CancelledError if the task was cancelled inside the block, whatever the outcome of the block: aiormq waits
    with `asyncio.wait_for`, which on Python 3.11 drops a cancel that arrives together with the broker's answer.

    Raise Lost for a CancelledError that nobody asked for: aiormq cancels whatever waits on a connection that died.
    """
    before = cancels()
    try:
        yield
    except asyncio.CancelledError as error:
        if cancels() > before:
            raise
        raise Lost("the connection was lost") from error
    except Exception as error:
        if cancels() > before:
            raise asyncio.CancelledError from error
        raise
    if cancels() > before:
        raise asyncio.CancelledError


@contextmanager
def losing() -> Generator[None]:
    """Enclose calls of aio_pika and aiormq: raise Lost for each way in which they report a refusal or a loss."""
    try:
        with cancellable():
            yield
    except LOSSES as error:
        raise loss(error) from error


def loss(error: BaseException, otherwise: str = "") -> Lost:
    """Return the loss that an exception of aio_pika, aiormq or the system means. otherwise: text for one without."""
    refusal = refusal_of(error)
    return Lost(str(refusal or error) or otherwise or type(error).__name__, refusal)
