"""One line on stderr and an exit code for each error."""

from __future__ import annotations

from memq_process.signals import Terminated

from memq.errors import (
    InvalidRequest,
    MemqError,
    QuotaExceeded,
    RemoteError,
    ReplyTimeout,
    Unconfirmed,
)
from memq_cli.sources import BadFile
from memq_schemas import ErrorCode

OK, FAILED, USAGE, TIMEOUT, THRESHOLD, INTERRUPTED = 0, 1, 2, 3, 4, 130

HINTS = {
    ErrorCode.UNKNOWN_COLLECTION: "create it with `memq collections create`, or let `memq upsert --create` do it",
    ErrorCode.COLLECTION_EXISTS: "look at it with `memq collections describe`",
    ErrorCode.TOO_MANY_POINTS: "try a smaller --batch-size",
    ErrorCode.TOO_LARGE: "try a smaller --batch-size",
}


def exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Terminated):
        return error.status
    if isinstance(error, (ReplyTimeout, Unconfirmed)) and not isinstance(error, QuotaExceeded):
        return TIMEOUT
    if isinstance(error, (InvalidRequest, BadFile)):
        return USAGE
    return FAILED


def line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = str(error)
    if isinstance(error, Terminated):
        return text
    if isinstance(error, RemoteError):
        hint = HINTS.get(ErrorCode(error.code)) if error.code in set(ErrorCode) else None
        wait = f"try again in {error.retry_after:g} s" if error.retry_after else None
        advice = "; ".join(filter(None, (hint, wait)))
        return f"{text}; {advice}" if advice else text
    if isinstance(error, (MemqError, BadFile)):
        return text
    return f"a defect in memq: {type(error).__name__}: {text} (MEMQ_DEBUG=1 shows where)"
