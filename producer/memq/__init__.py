"""Vectors through RabbitMQ into Qdrant, and answers about them: `from memq import Producer`.

Names are imported on first use: `import memq` loads no other library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memq.answers import (
        AliasAnswer,
        AliasesAnswer,
        CountAnswer,
        CreateAnswer,
        DescribeAnswer,
        DropAnswer,
        FacetAnswer,
        GetAnswer,
        IndexAnswer,
        LimitsAnswer,
        ListAnswer,
        PageAnswer,
        QueryAnswer,
        Receipt,
        UpdateAnswer,
    )
    from memq.changes import PointRow
    from memq.connection.link import ConnectionChange
    from memq.deliver.tracing import trace_context
    from memq.errors import (
        BrokerUnavailable,
        BufferFull,
        ConfigurationError,
        InvalidPoint,
        InvalidRequest,
        LetterAtRisk,
        MemqError,
        MessageTooLarge,
        OutboxError,
        OutboxFull,
        QuotaExceeded,
        RemoteError,
        ReplyTimeout,
        TopologyMissing,
        Unconfirmed,
        Unroutable,
        WrongContext,
    )
    from memq.producer import Producer
    from memq_schemas import Distance, Filter, Point, Record, ScoredPoint, VectorParams, point_id

_MODULES = {
    "memq.changes": ("PointRow",),
    "memq.answers": (
        "AliasAnswer",
        "AliasesAnswer",
        "CountAnswer",
        "CreateAnswer",
        "DescribeAnswer",
        "DropAnswer",
        "FacetAnswer",
        "GetAnswer",
        "IndexAnswer",
        "LimitsAnswer",
        "ListAnswer",
        "PageAnswer",
        "QueryAnswer",
        "Receipt",
        "UpdateAnswer",
    ),
    "memq.connection.link": ("ConnectionChange",),
    "memq.deliver.tracing": ("trace_context",),
    "memq.errors": (
        "BrokerUnavailable",
        "BufferFull",
        "ConfigurationError",
        "InvalidPoint",
        "InvalidRequest",
        "LetterAtRisk",
        "MemqError",
        "MessageTooLarge",
        "OutboxError",
        "OutboxFull",
        "QuotaExceeded",
        "RemoteError",
        "ReplyTimeout",
        "TopologyMissing",
        "Unconfirmed",
        "Unroutable",
        "WrongContext",
    ),
    "memq.producer": ("Producer",),
    "memq_schemas": ("Distance", "Filter", "Point", "Record", "ScoredPoint", "VectorParams", "point_id"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("answers", "blocking", "errors")

__all__ = [
    "AliasAnswer",
    "AliasesAnswer",
    "BrokerUnavailable",
    "BufferFull",
    "ConfigurationError",
    "ConnectionChange",
    "CountAnswer",
    "CreateAnswer",
    "DescribeAnswer",
    "Distance",
    "DropAnswer",
    "FacetAnswer",
    "Filter",
    "GetAnswer",
    "IndexAnswer",
    "InvalidPoint",
    "InvalidRequest",
    "LetterAtRisk",
    "LimitsAnswer",
    "ListAnswer",
    "MemqError",
    "MessageTooLarge",
    "OutboxError",
    "OutboxFull",
    "PageAnswer",
    "Point",
    "PointRow",
    "Producer",
    "QueryAnswer",
    "QuotaExceeded",
    "Receipt",
    "Record",
    "RemoteError",
    "ReplyTimeout",
    "ScoredPoint",
    "TopologyMissing",
    "Unconfirmed",
    "Unroutable",
    "UpdateAnswer",
    "VectorParams",
    "WrongContext",
    "point_id",
    "trace_context",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"memq.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'memq' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
