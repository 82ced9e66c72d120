"""JSON schemas of AMQP headers and properties, and of a body that is an Arrow stream."""

from typing import Any

from memq_schemas import CODES, headers

_TEXT = {"type": "string"}
_RFC3339 = {"type": "string", "format": "date-time"}

REQUEST_HEADERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        headers.DEADLINE: {
            "type": ["integer", "string"],
            "description": "epoch milliseconds after which nobody waits for the answer; or an AMQP timestamp",
        },
        headers.SENT: {
            "type": "integer",
            "description": "epoch milliseconds of publishing, within the second of the property timestamp",
        },
        headers.TRACEPARENT: _TEXT | {"description": "W3C Trace Context; carried on to the reply"},
        headers.RETRY_COUNT: {
            "type": "integer",
            "minimum": 0,
            "description": "attempts already spent; set by the worker, absent on a first publish",
        },
    },
}

DEAD_LETTER_HEADERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        headers.ERROR_CODE: {"type": "string", "enum": [code.value for code in CODES]},
        headers.ERROR_STAGE: _TEXT | {"description": "where it failed: decode, validate, write"},
        headers.EXCEPTION_CLASS: _TEXT,
        headers.EXCEPTION_MESSAGE: _TEXT | {"description": "cut short, without user data"},
        headers.RETRY_COUNT: {"type": "integer", "minimum": 0},
        headers.FIRST_FAILED_AT: _RFC3339,
        headers.LAST_FAILED_AT: _RFC3339,
        headers.ORIGINAL_QUEUE: _TEXT,
        headers.WORKER: _TEXT,
        headers.MESSAGE_ID: _TEXT | {"description": "message_id of the message as its sender published it"},
        headers.USER_ID: _TEXT | {"description": "user_id of the sender, validated by RabbitMQ"},
    },
}

ARROW_STREAM: dict[str, Any] = {
    "type": "string",
    "format": "binary",
    "contentMediaType": headers.ARROW_STREAM,
    "description": "An Arrow IPC stream of record batches, a row for each point. Columns: id (an unsigned 64-bit "
    "integer, or a UUID as string or fixed_size_binary[16]), vector, or vector.<name> for each named vector "
    "(fixed_size_list of float or halffloat; for a multivector a list of these; for a sparse vector a struct of the "
    "lists indices, unsigned 32-bit integers, and values, floats), and optionally payload (string, each the JSON of an "
    "object, or struct) and version (integer).",
}

REQUEST_PROPERTIES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "content_type": {
            "type": "string",
            "enum": [headers.JSON, headers.ARROW_STREAM],
            "default": headers.JSON,
            "description": "Arrow for upserts alone",
        },
        "content_encoding": {
            "type": "string",
            "enum": ["identity", "utf-8", "zstd"],
            "description": "zstd: the body is one Zstandard frame",
        },
        "reply_to": _TEXT | {"description": "a queue of the caller; without it there is no reply"},
        "correlation_id": _TEXT | {"description": "comes back on the reply"},
        "message_id": _TEXT | {"description": "new for every publish attempt"},
        "delivery_mode": {"type": "integer", "enum": [1, 2]},
        "priority": {"type": "integer", "const": headers.PRIORITY},
        "expiration": _TEXT | {"description": "milliseconds, as text"},
        "timestamp": {"type": "integer", "description": "epoch seconds"},
        "app_id": _TEXT,
    },
}
