"""What every peer's worker does with a message, and the addresses it does it with. Runs in the peers' environment."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.models import PointStruct

if TYPE_CHECKING:
    from collections.abc import Iterator

AMQP = os.environ["BENCH_AMQP"]
GRPC_PORT = int(os.environ["BENCH_GRPC_PORT"])
COLLECTION = "bench"
QUEUE = "bench"
QUORUM = {"x-queue-type": "quorum"}
PREFETCH = int(os.environ.get("BENCH_PREFETCH", "64"))

_OPTIONS: dict[str, Any] = {
    "host": "127.0.0.1",
    "grpc_port": GRPC_PORT,
    "prefer_grpc": True,
    "https": False,
    "check_compatibility": False,
    "timeout": 30,
}


def client() -> QdrantClient:
    return QdrantClient(**_OPTIONS)


def async_client() -> AsyncQdrantClient:
    return AsyncQdrantClient(**_OPTIONS)


def structs(points: list[dict[str, Any]]) -> list[PointStruct]:
    return [PointStruct(id=p["id"], vector=p["vector"], payload=p["payload"]) for p in points]


def messages() -> Iterator[bytes]:
    """The bodies to publish: one a line of the file named by the command line."""
    with open(sys.argv[2], "rb") as lines:
        for line in lines:
            yield line.rstrip(b"\n")


def batches() -> Iterator[list[dict[str, Any]]]:
    for body in messages():
        yield json.loads(body)["points"]
