import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from memq_schemas import ErrorCode
from memq_worker.errors import DependencyError, MessageError, Outage

_S = grpc.StatusCode


_QUOTED = "{details}"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure.

    `text`, where given, has to occur in the details: Qdrant says some things only there. `said` replaces the words of
    the code; details are quoted in it only where they contain nothing of a user's.
    """

    status: Any
    raises: type[MessageError | DependencyError | Outage]
    code: ErrorCode
    text: str = ""
    metadata: str = ""
    away: bool = False
    said: str = ""


# First match wins. Sources: Qdrant's src/tonic and error conversions as of 1.19, and answers of a running 1.18.3.
ROWS: tuple[Row, ...] = (
    Row(_S.NOT_FOUND, MessageError, ErrorCode.UNKNOWN_COLLECTION, text="Collection `"),
    Row(_S.NOT_FOUND, MessageError, ErrorCode.UNKNOWN_POINT),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.WRONG_DIMENSION, text="Vector dimension error"),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.UNKNOWN_VECTOR, text="Not existing vector name"),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.REJECTED_BY_STORE),
    Row(_S.ALREADY_EXISTS, MessageError, ErrorCode.COLLECTION_EXISTS),
    Row(_S.UNIMPLEMENTED, MessageError, ErrorCode.UNSUPPORTED_BY_STORE),
    Row(_S.OUT_OF_RANGE, MessageError, ErrorCode.REJECTED_BY_STORE),
    # With retry-after it is a rate limit; with this key a full quota; without either the request alone is too large.
    Row(_S.RESOURCE_EXHAUSTED, Outage, ErrorCode.STORE_UNAVAILABLE, metadata="qdrant-insufficient-storage"),
    Row(_S.RESOURCE_EXHAUSTED, Outage, ErrorCode.OVERLOADED, metadata="retry-after"),
    Row(_S.RESOURCE_EXHAUSTED, MessageError, ErrorCode.TOO_LARGE),
    Row(_S.UNAVAILABLE, Outage, ErrorCode.STORE_UNAVAILABLE, text="data directory ", said=_QUOTED),
    Row(_S.UNAVAILABLE, Outage, ErrorCode.STORE_UNAVAILABLE, away=True),
    Row(_S.UNAUTHENTICATED, Outage, ErrorCode.STORE_UNAVAILABLE, away=True),
    Row(_S.PERMISSION_DENIED, Outage, ErrorCode.FORBIDDEN),
    Row(_S.FAILED_PRECONDITION, Outage, ErrorCode.STORE_UNAVAILABLE, text="memq store ", said=_QUOTED),
    Row(_S.FAILED_PRECONDITION, Outage, ErrorCode.STORE_UNAVAILABLE),
    # It may have been applied, and it may be the queue that is full: the same write again is harmless.
    Row(_S.DEADLINE_EXCEEDED, Outage, ErrorCode.OVERLOADED),
    Row(_S.CANCELLED, Outage, ErrorCode.STORE_UNAVAILABLE),
    Row(_S.ABORTED, Outage, ErrorCode.STORE_UNAVAILABLE),
    Row(_S.INTERNAL, Outage, ErrorCode.STORE_UNAVAILABLE, text="No space left on device"),
    Row(_S.INTERNAL, Outage, ErrorCode.STORE_UNAVAILABLE, text="no active replica"),
    Row(_S.INTERNAL, Outage, ErrorCode.STORE_UNAVAILABLE, text="Active replica"),
    Row(_S.INTERNAL, DependencyError, ErrorCode.STORE_ERROR),
    Row(_S.UNKNOWN, DependencyError, ErrorCode.STORE_ERROR),
    Row(_S.DATA_LOSS, DependencyError, ErrorCode.STORE_ERROR),
)

# What a person needs to know where Qdrant's own words would help nobody.
_SAID: dict[ErrorCode, str] = {
    ErrorCode.UNKNOWN_COLLECTION: "there is no such collection",
    ErrorCode.STORE_UNAVAILABLE: "Qdrant cannot be reached or takes no writes",
    ErrorCode.OVERLOADED: "Qdrant is overloaded or too slow",
    ErrorCode.FORBIDDEN: "the worker's key may not do this in Qdrant",
    ErrorCode.COLLECTION_EXISTS: "the collection exists already",
}


def find(status: Any, details: str, metadata: dict[str, str]) -> Row:
    for row in ROWS:
        if row.status is status and row.text in details and (not row.metadata or row.metadata in metadata):
            return row
    return Row(status, DependencyError, ErrorCode.STORE_ERROR)


@contextmanager
def translated(stage: str = "write", *, deadline_is_the_callers: bool = False) -> Generator[None]:
    """Turns gRPC errors into the worker's. Out of a caller's own time is no sign of an overload."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except grpc.aio.AioRpcError as error:
        status = error.code()
        if deadline_is_the_callers and status is _S.DEADLINE_EXCEEDED:
            raise DependencyError(
                ErrorCode.DEADLINE_EXCEEDED, "no answer from Qdrant before the deadline", stage=stage
            ) from error
        raise _translate(error, stage) from error
    except asyncio.CancelledError:
        # grpc.aio cancels calls when their channel is closed under them.
        if task is not None and task.cancelling() > before:
            raise
        raise Outage(ErrorCode.STORE_UNAVAILABLE, "the connection to Qdrant was closed", stage=stage) from None


def _translate(error: grpc.aio.AioRpcError, stage: str) -> MessageError | DependencyError | Outage:
    metadata = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
    details = error.details() or ""
    row = find(error.code(), details, metadata)
    said = row.said.format(details=details[:300]) or _SAID.get(row.code)
    if issubclass(row.raises, Outage):
        seconds = _seconds(metadata.get("retry-after"))
        text = said or f"Qdrant failed: {error.code().name}"
        return Outage(row.code, text, stage=stage, retry_after_seconds=seconds, away=row.away)
    # Qdrant quotes what it refuses, so its words go to the sender and nowhere else.
    answer = said or f"Qdrant: {details[:500]}"
    return row.raises(row.code, said or f"Qdrant refused: {error.code().name}", stage=stage, answer=answer)


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
