from collections.abc import Sequence
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
