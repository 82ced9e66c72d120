from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from memq_worker.pipeline.delivery import Delivery

_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing(Protocol):
    """What the pipeline tells about its work while it is being done, so that it can be shown as part of a trace."""

    def request(self, delivery: Delivery) -> AbstractContextManager[None]:
        """As long as one request is answered."""
        ...

    def write(self, deliveries: Sequence[Delivery]) -> AbstractContextManager[None]:
        """As long as messages of one collection and kind are written together and settled."""
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
