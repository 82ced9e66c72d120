from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """A closed set: the same string stands in reply, log line, metric label and dead-letter header."""

    MALFORMED = "malformed"
    INVALID = "invalid"
    UNKNOWN_OPERATION = "unknown_operation"
    INVALID_COLLECTION = "invalid_collection"
    INVALID_REPLY_TO = "invalid_reply_to"
    FORBIDDEN = "forbidden"
    UNKNOWN_COLLECTION = "unknown_collection"
    UNKNOWN_POINT = "unknown_point"
    COLLECTION_EXISTS = "collection_exists"
    TOO_LARGE = "too_large"
    TOO_MANY_POINTS = "too_many_points"
    UNSUPPORTED_CONTENT = "unsupported_content"
    EMPTY_BATCH = "empty_batch"
    EMPTY_VECTOR = "empty_vector"
    INVALID_VECTOR = "invalid_vector"
    WRONG_DIMENSION = "wrong_dimension"
    UNKNOWN_VECTOR = "unknown_vector"
    INVALID_PAYLOAD = "invalid_payload"
    REJECTED_BY_STORE = "rejected_by_store"
    OVERLOADED = "overloaded"
    UNEXPECTED = "unexpected"
    UNSUPPORTED_BY_STORE = "unsupported_by_store"
    STORE_ERROR = "store_error"
    STORE_UNAVAILABLE = "store_unavailable"
    QUOTA_EXCEEDED = "quota_exceeded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    DELIVERY_LIMIT = "delivery_limit"


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    status: int
    retryable: bool
    meaning: str


CODES: dict[ErrorCode, CodeMeaning] = {
    ErrorCode.MALFORMED: CodeMeaning(400, False, "the body is not what its content type says"),
    ErrorCode.INVALID: CodeMeaning(422, False, "a field is missing, unknown or of the wrong type or range"),
    ErrorCode.UNKNOWN_OPERATION: CodeMeaning(400, False, "the routing key names no operation"),
    ErrorCode.INVALID_COLLECTION: CodeMeaning(422, False, "the routing key carries no usable collection name"),
    ErrorCode.INVALID_REPLY_TO: CodeMeaning(422, False, "reply_to names a queue that replies may not go to"),
    ErrorCode.FORBIDDEN: CodeMeaning(403, False, "the store's key may not do this"),
    ErrorCode.UNKNOWN_COLLECTION: CodeMeaning(404, False, "no such collection"),
    ErrorCode.UNKNOWN_POINT: CodeMeaning(404, False, "a point that the operation needs is not there"),
    ErrorCode.COLLECTION_EXISTS: CodeMeaning(409, False, "the collection exists already, or exists with other vectors"),
    ErrorCode.TOO_LARGE: CodeMeaning(413, False, "the body, or the reply, is larger than the worker accepts"),
    ErrorCode.TOO_MANY_POINTS: CodeMeaning(413, False, "more points in one message than the worker accepts"),
    ErrorCode.UNSUPPORTED_CONTENT: CodeMeaning(415, False, "a content type or encoding the worker does not read"),
    ErrorCode.EMPTY_BATCH: CodeMeaning(422, False, "no points"),
    ErrorCode.EMPTY_VECTOR: CodeMeaning(422, False, "a vector without numbers"),
    ErrorCode.INVALID_VECTOR: CodeMeaning(422, False, "a vector that is not numbers or base64, or not finite"),
    ErrorCode.WRONG_DIMENSION: CodeMeaning(422, False, "the vector's length is not the collection's"),
    ErrorCode.UNKNOWN_VECTOR: CodeMeaning(422, False, "the collection has no vector of that name"),
    ErrorCode.INVALID_PAYLOAD: CodeMeaning(422, False, "a payload the store cannot hold"),
    ErrorCode.REJECTED_BY_STORE: CodeMeaning(422, False, "Qdrant refused the request"),
    ErrorCode.OVERLOADED: CodeMeaning(429, True, "the store asks to slow down"),
    ErrorCode.UNEXPECTED: CodeMeaning(500, True, "a defect in the worker; its log has the traceback"),
    ErrorCode.UNSUPPORTED_BY_STORE: CodeMeaning(501, False, "this store does not implement the operation"),
    ErrorCode.STORE_ERROR: CodeMeaning(500, True, "the store failed in a way that may pass"),
    ErrorCode.STORE_UNAVAILABLE: CodeMeaning(503, True, "the store cannot be reached or takes no writes"),
    ErrorCode.QUOTA_EXCEEDED: CodeMeaning(507, True, "the collection has reached its limit of points or bytes"),
    ErrorCode.DEADLINE_EXCEEDED: CodeMeaning(504, True, "the deadline passed before there was an answer"),
    ErrorCode.DELIVERY_LIMIT: CodeMeaning(500, False, "the broker gave the message up after too many deliveries"),
}
