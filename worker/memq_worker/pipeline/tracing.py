from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from memq_worker.pipeline.delivery import Delivery

_NOTHING: AbstractContextManager[None] = nullcontext()


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


class Untraced:
    def request(self, delivery: Delivery) -> AbstractContextManager[None]:
        return _NOTHING

    def write(self, deliveries: Sequence[Delivery]) -> AbstractContextManager[None]:
        return _NOTHING

    def failed(self, code: str) -> None:
        return


UNTRACED = Untraced()
