"""Protocols that the pipeline needs: an observer of its events, and a tracer of its work."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from memq_worker.pipeline.delivery import Delivery

# Why a write goes out: none was in flight; a limit was reached; the one before it has finished; nothing may be merged
# with it; it is half of a refused one; it is tried again in its place.
Reason = Literal["idle", "full", "next", "alone", "split", "retry"]


class Observer(Protocol):
    """Events of the pipeline, once for all messages that share one."""

    def settled(self, operation: str, outcome: str, deliveries: Sequence[Delivery], code: str = "") -> None:
        """One or more deliveries of one lane have ended alike, now. `code` says why where the outcome is no success."""
        ...

    def wrote(self, operation: str, reason: Reason, points: int, messages: int) -> None:
        """One write has been applied."""
        ...

    def retried(self, tier: int) -> None:
        """A copy is in the retry queue of `tier` seconds."""
        ...

    def dead_lettered(self, code: str) -> None:
        """A copy is in the dead-letter queue."""
        ...

    def replied(self, outcome: str) -> None: ...

    def skewed(self) -> None:
        """The sender's clock is late: the deadline of a message has passed on arrival, and its expiration has not."""
        ...

    def held(self, held: bool) -> None: ...


class Tracing(Protocol):
    """Hooks around the pipeline's work, for tracing."""

    def request(self, delivery: Delivery) -> AbstractContextManager[None]:
        """Trace the answering of one request."""
        ...

    def write(self, deliveries: Sequence[Delivery]) -> AbstractContextManager[None]:
        """Trace one write of messages of one collection and kind, settlement included."""
        ...

    def failed(self, code: str) -> None:
        """Something in the work at hand has not succeeded."""
        ...
