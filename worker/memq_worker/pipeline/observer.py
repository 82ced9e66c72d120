from collections.abc import Sequence
from typing import Protocol

from memq_worker.pipeline.delivery import Delivery


class Observer(Protocol):
    """What the pipeline tells about itself, once for all messages that share it."""

    def settled(self, operation: str, outcome: str, deliveries: Sequence[Delivery], code: str = "") -> None:
        """One or more deliveries have ended alike, now. `code` says why where the outcome is no success."""
        ...

    def wrote(self, operation: str, reason: str, points: int, messages: int) -> None:
        """One write has been applied; `reason` is why it went out when it did."""
        ...

    def retried(self, tier: int) -> None:
        """A copy is in the retry queue of `tier` seconds."""
        ...

    def dead_lettered(self, code: str) -> None:
        """A copy is in the dead-letter queue."""
        ...

    def replied(self, outcome: str) -> None: ...

    def held(self, held: bool) -> None: ...
