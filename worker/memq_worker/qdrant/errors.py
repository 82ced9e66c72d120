import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from memq_amqp.tasks import cancels

from memq_schemas import ErrorCode
from memq_worker.errors import DependencyError, MessageError, Outage, Scope, Throttled

_S = grpc.StatusCode
_AWAY = ErrorCode.STORE_UNAVAILABLE

# Statuses of a refused API key, among others.
KEY_REFUSED = (_S.UNAUTHENTICATED, _S.PERMISSION_DENIED)

Raised = MessageError | DependencyError | Outage | Throttled

_LEAST_SECONDS = 1.0  # Qdrant rounds retry-after to whole seconds
_QUOTED = "{details}"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure.

    `text`, where given, has to occur in the details, and `start` to begin them: Qdrant says some things only there.
    `wording` replaces the words of the code; details are quoted in it only where they contain nothing of a user's.
    """

    status: Any
    raises: type[Raised]
    code: ErrorCode
    text: str = ""
    metadata: str = ""
    away: bool = False
    wording: str = ""
    least: Scope = "message"
    start: str = ""


_CERTIFICATE = "Qdrant: TLS: certificate verify failed: set MEMQ_QDRANT_CAFILE to its authority ({details})"
_HOST_NAME = "Qdrant: TLS: certificate verify failed: it is not for the host of MEMQ_QDRANT_URL"
_NO_KEY = "Qdrant refused the API key: set MEMQ_QDRANT_API_KEY to a valid one"
_NO_PERMISSION = "the API key in MEMQ_QDRANT_API_KEY has no permission for this in Qdrant"
_DISK = "Qdrant accepts no writes: strict mode's max_disk_usage_percent is reached"
_MEMORY = "Qdrant accepts no writes: strict mode's max_resident_memory_percent is reached"
_FULL = "Qdrant accepts no writes: no space left on its device"
_REPLICA = "Qdrant cannot write to every shard: a node or replica is down"
_POINTS = "the collection has reached strict mode's max_points_count"
_BYTES = "the collection has reached strict mode's limit on its vectors' or payloads' size"
_EXACT = (
    "exact: the collection's strict mode has search_allow_exact false; ask with exact: false for an estimate, or set "
    "search_allow_exact to true"
)
_UNINDEXED = (
    "the collection's strict mode has unindexed_filtering_update false and the key _version no index, which versioned "
    "deletes and overwrite need: create one with `memq index create _version -c COLLECTION --type integer`"
)
_ALIAS = "an alias has this name already"
_STOPWORDS = (
    "stopwords: Qdrant does not have this language; expected the name or code of another, such as english or en"
)
_STEMMER = "stemmer: Qdrant does not have this language; expected the name or code of another, such as english or en"
_LARGE = "the request exceeds a rate limit of the collection by itself: send fewer points in a message"

# First match wins. Sources: Qdrant's src/tonic and error conversions as of 1.19, and answers of a running 1.18.3.
ROWS: tuple[Row, ...] = (
    Row(_S.NOT_FOUND, MessageError, ErrorCode.UNKNOWN_COLLECTION, text="Collection "),
    Row(_S.NOT_FOUND, MessageError, ErrorCode.UNKNOWN_COLLECTION, text="Alias ", wording="no such alias"),
    Row(_S.NOT_FOUND, MessageError, ErrorCode.UNKNOWN_VECTOR, text="Vector with name"),
    Row(_S.NOT_FOUND, MessageError, ErrorCode.UNKNOWN_POINT, text="No point with id"),
    Row(_S.NOT_FOUND, MessageError, ErrorCode.REJECTED_BY_STORE),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.WRONG_DIMENSION, text="Vector dimension error"),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.UNKNOWN_VECTOR, text="Not existing vector name"),
    # Strict mode answers INVALID_ARGUMENT also where the message is not at fault.
    Row(
        _S.INVALID_ARGUMENT,
        Outage,
        _AWAY,
        text="Disk usage is at",
        wording=_DISK,
        least="collection",
    ),
    Row(
        _S.INVALID_ARGUMENT,
        Outage,
        _AWAY,
        text="Resident memory usage is at",
        wording=_MEMORY,
        least="collection",
    ),
    Row(_S.INVALID_ARGUMENT, DependencyError, ErrorCode.QUOTA_EXCEEDED, text="Max points count limit", wording=_POINTS),
    Row(_S.INVALID_ARGUMENT, DependencyError, ErrorCode.QUOTA_EXCEEDED, text="storage size limit of", wording=_BYTES),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.REJECTED_BY_STORE, text="Exact search disabled!", wording=_EXACT),
    Row(
        _S.INVALID_ARGUMENT,
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        text='Index required but not found for "_version"',
        wording=_UNINDEXED,
    ),
    Row(
        _S.INVALID_ARGUMENT,
        MessageError,
        ErrorCode.COLLECTION_EXISTS,
        text="Alias with the same name already exists",
        wording=_ALIAS,
    ),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.REJECTED_BY_STORE, start="unknown language: ", wording=_STOPWORDS),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.REJECTED_BY_STORE, start='Language "', wording=_STEMMER),
    Row(_S.INVALID_ARGUMENT, MessageError, ErrorCode.REJECTED_BY_STORE),
    Row(_S.ALREADY_EXISTS, MessageError, ErrorCode.COLLECTION_EXISTS),
    Row(_S.UNIMPLEMENTED, MessageError, ErrorCode.UNSUPPORTED_BY_STORE),
    Row(_S.OUT_OF_RANGE, MessageError, ErrorCode.REJECTED_BY_STORE),
    # With retry-after it is a rate limit; with this key a full quota; without either the request alone is too large.
    Row(
        _S.RESOURCE_EXHAUSTED,
        Outage,
        _AWAY,
        metadata="qdrant-insufficient-storage",
        wording=_FULL,
        least="collection",
    ),
    Row(_S.RESOURCE_EXHAUSTED, Throttled, ErrorCode.OVERLOADED, metadata="retry-after"),
    Row(_S.RESOURCE_EXHAUSTED, MessageError, ErrorCode.TOO_LARGE, text="rate limiter capacity", wording=_LARGE),
    Row(_S.RESOURCE_EXHAUSTED, MessageError, ErrorCode.TOO_LARGE),
    Row(_S.UNAVAILABLE, Outage, _AWAY, text="data directory ", wording=_QUOTED, least="collection"),
    Row(_S.UNAVAILABLE, Outage, _AWAY, text="Shard temporarily unavailable", least="collection"),
    Row(_S.UNAVAILABLE, Outage, _AWAY, text="CERTIFICATE_VERIFY_FAILED", away=True, wording=_CERTIFICATE),
    Row(_S.UNAVAILABLE, Outage, _AWAY, text="Hostname Verification", away=True, wording=_HOST_NAME),
    Row(_S.UNAVAILABLE, Outage, _AWAY, away=True),
    Row(_S.UNAUTHENTICATED, Outage, _AWAY, away=True, wording=_NO_KEY, least="collection"),
    Row(
        _S.PERMISSION_DENIED,
        Outage,
        _AWAY,
        text="ExpiredSignature",
        away=True,
        wording="the token in MEMQ_QDRANT_API_KEY has expired",
        least="collection",
    ),
    Row(
        _S.PERMISSION_DENIED,
        Outage,
        _AWAY,
        text="InvalidSignature",
        away=True,
        wording=_NO_KEY,
        least="collection",
    ),
    Row(_S.PERMISSION_DENIED, DependencyError, ErrorCode.FORBIDDEN, wording=_NO_PERMISSION),
    Row(
        _S.FAILED_PRECONDITION,
        Outage,
        _AWAY,
        text="memq store ",
        wording=_QUOTED,
        away=True,
        least="collection",
    ),
    Row(_S.FAILED_PRECONDITION, Outage, _AWAY),
    # It may have been applied, and it may be the queue that is full: the same write again is harmless.
    Row(_S.DEADLINE_EXCEEDED, Outage, ErrorCode.DEADLINE_EXCEEDED, wording="Qdrant did not finish the request in time"),
    # A connection that was closed, or a panic of the server.
    Row(_S.CANCELLED, Outage, _AWAY),
    Row(_S.ABORTED, Outage, _AWAY),
    # For good: the same request meets the same defect again.
    Row(_S.INTERNAL, MessageError, ErrorCode.REJECTED_BY_STORE, text="panicked"),
    Row(_S.INTERNAL, MessageError, ErrorCode.UNSUPPORTED_BY_STORE, text="InferenceService URL not configured"),
    Row(_S.INTERNAL, MessageError, ErrorCode.REJECTED_BY_STORE, text="failed to decode Protobuf message"),
    Row(_S.INTERNAL, Outage, _AWAY, text="No space left on device", wording=_FULL, least="collection"),
    *(
        Row(_S.INTERNAL, Outage, _AWAY, text=text, wording=_REPLICA, least="collection")
        for text in (
            "no active replica",
            "enough active replicas",
            "ailed to apply operation",
            "The service is currently unavailable",
            "tcp connect error",
        )
    ),
    Row(_S.INTERNAL, DependencyError, ErrorCode.STORE_ERROR),
    Row(_S.UNKNOWN, DependencyError, ErrorCode.STORE_ERROR),
    Row(_S.DATA_LOSS, DependencyError, ErrorCode.STORE_ERROR),
)

# What a person needs to know where Qdrant's own words would help nobody.
_WORDING: dict[ErrorCode, str] = {
    ErrorCode.UNKNOWN_COLLECTION: "no such collection",
    ErrorCode.STORE_UNAVAILABLE: "Qdrant cannot be reached or takes no writes",
    ErrorCode.OVERLOADED: "the collection's rate limit in Qdrant is reached",
    ErrorCode.COLLECTION_EXISTS: "the collection exists already",
}


def find(status: Any, details: str, metadata: dict[str, str]) -> Row:
    for row in ROWS:
        is_said = row.text in details and details.startswith(row.start)
        if row.status is status and is_said and (not row.metadata or row.metadata in metadata):
            return row
    return Row(status, DependencyError, ErrorCode.STORE_ERROR)


@contextmanager
def translated(stage: str = "write", *, deadline_is_the_callers: bool = False) -> Generator[None]:
    """Turns gRPC errors into the worker's. Out of a caller's own time is no sign of an overload."""
    try:
        yield
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
        translate(error, stage, deadline_is_the_callers=deadline_is_the_callers)


def translate(
    error: grpc.aio.AioRpcError | asyncio.CancelledError,
    stage: str = "write",
    *,
    deadline_is_the_callers: bool = False,
) -> NoReturn:
    """Raise the worker's error for the failure of a call, and CancelledError if this task is cancelled."""
    if isinstance(error, grpc.aio.AioRpcError):
        if deadline_is_the_callers and error.code() is _S.DEADLINE_EXCEEDED:
            raise DependencyError(
                ErrorCode.DEADLINE_EXCEEDED, "no answer from Qdrant before the deadline", stage=stage
            ) from error
        raise _translate(error, stage) from error
    # grpc.aio cancels calls when their channel is closed under them.
    if cancels():
        raise error
    raise Outage(ErrorCode.STORE_UNAVAILABLE, "the connection to Qdrant was closed", stage=stage) from None


def _translate(error: grpc.aio.AioRpcError, stage: str) -> Raised:
    metadata = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
    details = error.details() or ""
    row = find(error.code(), details, metadata)
    wording = row.wording.format(details=details[:300]) or _WORDING.get(row.code)
    seconds = _seconds(metadata.get("retry-after"))
    text = wording or f"Qdrant failed: {error.code().name}"
    if row.raises is Throttled:
        return Throttled(text, stage=stage, retry_after_seconds=seconds or _LEAST_SECONDS)
    if row.raises is Outage:
        return Outage(row.code, text, stage=stage, retry_after_seconds=seconds, away=row.away, least=row.least)
    assert issubclass(row.raises, MessageError | DependencyError)
    # Qdrant quotes what it refuses, so its words go to the sender and nowhere else.
    answer = wording or f"Qdrant: {details[:500]}"
    return row.raises(row.code, wording or f"Qdrant refused: {error.code().name}", stage=stage, answer=answer)


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
