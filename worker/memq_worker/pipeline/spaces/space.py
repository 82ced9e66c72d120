"""The part of the store that belongs to one tenant."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from memq_schemas import ErrorCode, Operation
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import Request, Write

# Asks the store: operation, collection as the store names it, body. Raises WorkerError.
Ask = Callable[[Operation, str, Any], Awaitable[Any]]

# Read and written alike in every storage. Operations that no space names are refused: a new one cannot leak.
POINT_REQUESTS = frozenset((Operation.QUERY, Operation.GET, Operation.SCROLL, Operation.COUNT, Operation.FACET))


class Space(Protocol):
    """Translate a tenant's names, ids and points to those of the store, and back."""

    def write(self, command: Write) -> Write:
        """Return the command as the store gets it. Raises MessageError for what the tenant may not write."""
        ...

    async def answer(self, request: Request, ask: Ask) -> Any:
        """Return the result of a request. Raises MessageError for what the tenant may not ask, and what `ask` does."""
        ...

    async def collections(self, ask: Ask) -> list[str]:
        """Return the tenant's names of its collections, by the operation `LIST`."""
        ...

    async def stored_points(self, ask: Ask) -> int:
        """Count the tenant's points in all its collections, by the operations `LIST` and `COUNT`."""
        ...

    def retold(self, text: str) -> str:
        """Return an error text in the tenant's own names."""
        ...


def refused(operation: Operation, reason: str = "not available to tenants") -> MessageError:
    return MessageError(ErrorCode.FORBIDDEN, f"{operation.value}: {reason}", stage="validate")
