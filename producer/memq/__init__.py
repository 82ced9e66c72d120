"""Vectors through RabbitMQ into Qdrant, and answers about them: `from memq import Producer`."""

from memq.answers import (
    CountAnswer,
    CreateAnswer,
    DescribeAnswer,
    DropAnswer,
    GetAnswer,
    ListAnswer,
    QueryAnswer,
    Receipt,
)
from memq.connection.link import ConnectionChange
from memq.deliver.tracing import trace_context
from memq.errors import (
    BrokerUnavailable,
    BufferFull,
    ConfigurationError,
    InvalidPoint,
    InvalidRequest,
    MemqError,
    MessageTooLarge,
    OutboxError,
    OutboxFull,
    RemoteError,
    ReplyTimeout,
    TopologyMissing,
    Unconfirmed,
    Unroutable,
)
from memq.producer import Producer
from memq_schemas import Distance, Filter, Point, Record, ScoredPoint, VectorParams, point_id

__all__ = [
    "BrokerUnavailable",
    "BufferFull",
    "ConfigurationError",
    "ConnectionChange",
    "CountAnswer",
    "CreateAnswer",
    "DescribeAnswer",
    "Distance",
    "DropAnswer",
    "Filter",
    "GetAnswer",
    "InvalidPoint",
    "InvalidRequest",
    "ListAnswer",
    "MemqError",
    "MessageTooLarge",
    "OutboxError",
    "OutboxFull",
    "Point",
    "Producer",
    "QueryAnswer",
    "Receipt",
    "Record",
    "RemoteError",
    "ReplyTimeout",
    "ScoredPoint",
    "TopologyMissing",
    "Unconfirmed",
    "Unroutable",
    "VectorParams",
    "point_id",
    "trace_context",
]
