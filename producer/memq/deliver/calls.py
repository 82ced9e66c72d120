from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from memq.connection.replies import broken_reply
from memq.deliver.sender import Outgoing
from memq.errors import InvalidRequest
from memq_schemas import check_collection, headers

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
        outgoing = self.outgoing(operation, collection, body)
        return await self._sender.ask(outgoing, self._timeout if timeout is None else timeout)

    def outgoing(
        self, operation: Operation, collection: str | None, body: bytes, content_type: str = headers.JSON
    ) -> Outgoing:
        """Raises InvalidRequest for an impossible collection name or too large a body."""
        if collection is not None:
            usable_collection(collection)
        if len(body) > self._max_bytes:
            raise InvalidRequest(f"{len(body)} bytes, max_message_bytes is {self._max_bytes}")
        return Outgoing(operation, collection, body, content_type)


def require_timeout(seconds: float) -> None:
    """Raises InvalidRequest unless it is a number above zero."""
    if not (isinstance(cast("object", seconds), (int, float)) and seconds > 0):
        raise InvalidRequest("timeout: expected seconds, greater than 0")


def usable_collection(name: object) -> str:
    try:
        return check_collection(name if isinstance(name, str) else "")
    except ValueError as error:
        raise InvalidRequest(f"collection: {error}") from None


def read(adapter: TypeAdapter[T], reply: Reply) -> T:
    """Raises RemoteError when the result is not what the contract says. Unknown fields are ignored."""
    try:
        return adapter.validate_python(reply.result, extra="ignore")
    except ValidationError as error:
        raise broken_reply() from error
