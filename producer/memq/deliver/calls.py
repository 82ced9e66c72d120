from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from memq.connection.replies import broken_reply
from memq.deliver.sender import Outgoing, checked
from memq.errors import InvalidRequest

if TYPE_CHECKING:
    from memq.connection.replies import Reply
    from memq.deliver.sender import Sender
    from memq_schemas import Operation

T = TypeVar("T")


class Calls:
    """Questions to the worker, each one message out and one answer back."""

    def __init__(self, sender: Sender, timeout: float, max_bytes: int) -> None:
        self._sender = sender
        self._timeout = timeout
        self._max_bytes = max_bytes

    async def ask(self, operation: Operation, collection: str | None, body: bytes, timeout: float | None) -> Reply:
        if timeout is not None:
            require_timeout(timeout)
        message = checked(Outgoing(operation, collection, body), self._max_bytes)
        return await self._sender.ask(message, self._timeout if timeout is None else timeout)


def require_timeout(seconds: float) -> None:
    """Raises InvalidRequest unless it is a number above zero."""
    if not (isinstance(cast("object", seconds), (int, float)) and seconds > 0):
        raise InvalidRequest("timeout: expected seconds, greater than 0")


def read(adapter: TypeAdapter[T], reply: Reply) -> T:
    """Raises RemoteError when the result is not what the contract says. Unknown fields are ignored."""
    try:
        return adapter.validate_python(reply.result, extra="ignore")
    except ValidationError as error:
        raise broken_reply() from error
