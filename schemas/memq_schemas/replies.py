from typing import Annotated, Any

from pydantic import Field

from memq_schemas.codes import CODES, ErrorCode
from memq_schemas.model import Model

ElapsedMs = Annotated[float, Field(ge=0, description="milliseconds from the worker's receipt to its reply")]
Status = Annotated[int, Field(ge=200, le=599, description="with HTTP's meaning")]


class ErrorDetail(Model):
    """Reason for a failure. `code` is one of ErrorCode; a newer worker may send a code unknown to a client."""

    code: str
    message: str
    retryable: Annotated[bool, Field(description="whether sending the same message again later may succeed")]
    retry_after: Annotated[float | None, Field(ge=0, description="seconds to wait before that")] = None


class ErrorReply(Model):
    status: Status
    error: ErrorDetail
    elapsed_ms: ElapsedMs


class ResultReply(Model):
    status: Status
    result: Any
    elapsed_ms: ElapsedMs


def error_reply(code: ErrorCode, message: str, elapsed_ms: float, retry_after: float | None = None) -> ErrorReply:
    """The reply for a code, with the status and retryability of the code table."""
    meaning = CODES[code]
    detail = ErrorDetail(code=code.value, message=message, retryable=meaning.retryable, retry_after=retry_after)
    return ErrorReply(status=meaning.status, error=detail, elapsed_ms=elapsed_ms)
