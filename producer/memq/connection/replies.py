from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from memq.errors import RemoteError
from memq_schemas import ErrorCode


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    result: Any
    elapsed_ms: float


class Pending:
    """Callers that wait for answers. An answer is None if its connection was lost."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[bytes | None]] = {}
        self.ignored = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, correlation_id: str) -> asyncio.Future[bytes | None]:
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = answer
        return answer

    def forget(self, correlation_id: str) -> None:
        self._waiting.pop(correlation_id, None)

    def arrived(self, correlation_id: str | None, body: bytes) -> None:
        answer = self._waiting.get(correlation_id or "")
        if answer is None or answer.done():
            self.ignored += 1
            return
        answer.set_result(body)

    def lost(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(None)


def decode_reply(body: bytes) -> Reply:
    """Raises RemoteError for an error reply, and for a reply that breaks the contract. Unknown fields are ignored, so
    that a worker may be newer than its callers."""
    try:
        return decoded_reply(orjson.loads(body))
    except ValueError as error:
        raise broken_reply() from error


def decoded_reply(reply: Any) -> Reply:
    """Return a reply from its JSON value. Raises as `decode_reply` does."""
    try:
        status, elapsed_ms = int(reply["status"]), float(reply["elapsed_ms"])
        if "error" not in reply:
            return Reply(status, reply["result"], elapsed_ms)
        detail = reply["error"]
        code, message, retryable = str(detail["code"]), str(detail["message"]), bool(detail["retryable"])
        retry_after = detail.get("retry_after")
    except (KeyError, TypeError, ValueError) as error:
        raise broken_reply() from error
    raise RemoteError(code, message, status=status, retryable=retryable, retry_after=retry_after, elapsed_ms=elapsed_ms)


def broken_reply() -> RemoteError:
    text = "the worker's reply is not what the contract says: are worker and producer of fitting versions?"
    return RemoteError(ErrorCode.UNEXPECTED.value, text, status=500, retryable=False)
