"""What each answer of Qdrant means. The texts are answers of a running Qdrant 1.18.3, or words of its source."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import DependencyError, MessageError, Outage, Throttled
from memq_worker.qdrant.errors import ROWS, find

S = grpc.StatusCode

# status, details, metadata, error, code, least scope of an outage
# As gRPC reports a handshake that fails on the client's side.
_CONNECT = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:6334: "
_EXPIRED = (
    "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
    "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"
)
_HOST = "Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed."

ANSWERS: list[tuple[Any, str, dict[str, str], type[Exception], ErrorCode, str]] = [
    (S.UNAVAILABLE, _CONNECT + _EXPIRED, {}, Outage, ErrorCode.STORE_UNAVAILABLE, "message"),
    (S.UNAVAILABLE, _CONNECT + _HOST, {}, Outage, ErrorCode.STORE_UNAVAILABLE, "message"),
    (S.NOT_FOUND, "Not found: Collection `x` doesn't exist!", {}, MessageError, ErrorCode.UNKNOWN_COLLECTION, ""),
    (S.NOT_FOUND, "Not found: Collection x not found", {}, MessageError, ErrorCode.UNKNOWN_COLLECTION, ""),
    (S.NOT_FOUND, "Not found: Alias x does not exists!", {}, MessageError, ErrorCode.UNKNOWN_COLLECTION, ""),
    (S.NOT_FOUND, "Not found: No point with id 9 found", {}, MessageError, ErrorCode.UNKNOWN_POINT, ""),
    (
        S.NOT_FOUND,
        'Not found: Vector with name "d" for point not found',
        {},
        MessageError,
        ErrorCode.UNKNOWN_VECTOR,
        "",
    ),
    (S.NOT_FOUND, 'Not found: Shard key "k" not found', {}, MessageError, ErrorCode.REJECTED_BY_STORE, ""),
    (
        S.INVALID_ARGUMENT,
        "Wrong input: Vector dimension error: expected dim: 4, got 3",
        {},
        MessageError,
        ErrorCode.WRONG_DIMENSION,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        "unknown language: unknown variant `klingon`, expected one of `ar`, `arabic` at line 1 column 9",
        {},
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        "",
    ),
    (S.INVALID_ARGUMENT, 'Language "klingon" not found.', {}, MessageError, ErrorCode.REJECTED_BY_STORE, ""),
    (
        S.INVALID_ARGUMENT,
        "Wrong input: Not existing vector name error: zz",
        {},
        MessageError,
        ErrorCode.UNKNOWN_VECTOR,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        "Bad request: Strict mode error: Disk usage is at 91% of total capacity, exceeding the configured limit of 90%",
        {},
        Outage,
        ErrorCode.STORE_UNAVAILABLE,
        "collection",
    ),
    (
        S.INVALID_ARGUMENT,
        "Strict mode error: Resident memory usage is at 61% of total memory, exceeding the configured limit of 60%",
        {},
        Outage,
        ErrorCode.STORE_UNAVAILABLE,
        "collection",
    ),
    (
        S.INVALID_ARGUMENT,
        "Bad request: Max points count limit of 10 reached!",
        {},
        DependencyError,
        ErrorCode.QUOTA_EXCEEDED,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        "Bad request: Max vector storage size limit of 1MB reached!",
        {},
        DependencyError,
        ErrorCode.QUOTA_EXCEEDED,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        "Bad request: Max payload storage size limit of 1MB reached!",
        {},
        DependencyError,
        ErrorCode.QUOTA_EXCEEDED,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        'Bad request: Index required but not found for "k"',
        {},
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        "",
    ),
    (
        S.ALREADY_EXISTS,
        "Wrong input: Collection `x` already exists!",
        {},
        MessageError,
        ErrorCode.COLLECTION_EXISTS,
        "",
    ),
    (
        S.RESOURCE_EXHAUSTED,
        "Rate limiting exceeded: Write rate limit exceeded: Operation requires 1 tokens but only 0.5 were available.",
        {"retry-after": "4"},
        Throttled,
        ErrorCode.OVERLOADED,
        "",
    ),
    (
        S.RESOURCE_EXHAUSTED,
        "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter capacity, "
        "please try to split your request",
        {},
        MessageError,
        ErrorCode.TOO_LARGE,
        "",
    ),
    (
        S.RESOURCE_EXHAUSTED,
        "quota",
        {"qdrant-insufficient-storage": "1"},
        Outage,
        ErrorCode.STORE_UNAVAILABLE,
        "collection",
    ),
    (S.UNAVAILABLE, "failed to connect to all addresses", {}, Outage, ErrorCode.STORE_UNAVAILABLE, "message"),
    (
        S.UNAVAILABLE,
        "Shard temporarily unavailable: it is being moved",
        {},
        Outage,
        ErrorCode.STORE_UNAVAILABLE,
        "collection",
    ),
    (S.UNAUTHENTICATED, "Invalid API key or JWT", {}, Outage, ErrorCode.STORE_UNAVAILABLE, "collection"),
    (
        S.UNAUTHENTICATED,
        "Must provide an API key or an Authorization bearer token",
        {},
        Outage,
        ErrorCode.STORE_UNAVAILABLE,
        "collection",
    ),
    (S.PERMISSION_DENIED, "ExpiredSignature", {}, Outage, ErrorCode.STORE_UNAVAILABLE, "collection"),
    (S.PERMISSION_DENIED, "InvalidSignature", {}, Outage, ErrorCode.STORE_UNAVAILABLE, "collection"),
    *(
        (S.PERMISSION_DENIED, text, {}, DependencyError, ErrorCode.FORBIDDEN, "")
        for text in (
            "Forbidden: Access to collection x is required",
            "Forbidden: Global manage access is required",
            "Forbidden: Write access to collection x is required",
            "Forbidden: Only points access is allowed for collection x",
        )
    ),
    (S.DEADLINE_EXCEEDED, "Deadline Exceeded", {}, Outage, ErrorCode.DEADLINE_EXCEEDED, "message"),
    (
        S.CANCELLED,
        "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))",
        {},
        Outage,
        ErrorCode.STORE_UNAVAILABLE,
        "message",
    ),
    *(
        (S.INTERNAL, f"Service internal error: {text}", {}, Outage, ErrorCode.STORE_UNAVAILABLE, "collection")
        for text in (
            "No space left on device: WAL buffer size exceeds available disk space",
            "Tonic status error: code: 'The service is currently unavailable', message: \"tcp connect error\"",
            "transport error: tcp connect error: Connection refused (os error 111)",
            "1 out of 2 shards failed to apply operation. First error captured: Service internal error: 1 of 1",
            "Failed to apply operation to at least one `Active` replica. Consistency of this update is not guaranteed.",
            "The replica set for shard 0 on peer 1 does not have enough active replicas",
            "The replica set for shard 0 on peer 1 has no active replica",
        )
    ),
    (
        S.INTERNAL,
        'Service internal error: task 41 panicked with message "called `Result::unwrap()` on an `Err` value"',
        {},
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        "",
    ),
    (
        S.INTERNAL,
        "Service internal error: InferenceService URL not configured - please provide valid address",
        {},
        MessageError,
        ErrorCode.UNSUPPORTED_BY_STORE,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        "Bad request: Exact search disabled!. Help: Set exact=false.",
        {},
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        'Bad request: Index required but not found for "_version" of one of the following types: [float, integer]. '
        "Help: Create an index for this key or use a different filter.",
        {},
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        "",
    ),
    (
        S.INVALID_ARGUMENT,
        "Wrong input: Can't create collection with name al. Alias with the same name already exists",
        {},
        MessageError,
        ErrorCode.COLLECTION_EXISTS,
        "",
    ),
    (
        S.INTERNAL,
        "failed to decode Protobuf message: invalid varint",
        {},
        MessageError,
        ErrorCode.REJECTED_BY_STORE,
        "",
    ),
    (S.INTERNAL, "Service internal error: something else", {}, DependencyError, ErrorCode.STORE_ERROR, ""),
]


@pytest.mark.parametrize(("status", "details", "metadata", "error", "code", "least"), ANSWERS)
def test_each_answer_means_what_it_was_recorded_for(
    status: Any, details: str, metadata: dict[str, str], error: type[Exception], code: ErrorCode, least: str
) -> None:
    row = find(status, details, metadata)
    assert (row.raises, row.code) == (error, code)
    if error is Outage:
        assert row.least == least


def test_every_row_with_a_text_has_a_recorded_answer() -> None:
    met = {id(find(status, details, metadata)) for status, details, metadata, *_ in ANSWERS}
    unmet = [row.text or row.start for row in ROWS if (row.text or row.start) and id(row) not in met]
    # The embedded engine's own words are tested with the engine.
    assert set(unmet) == {"data directory ", "memq store "}
