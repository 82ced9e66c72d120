"""Collections of one real Qdrant server that fail, each in a way of its own, beside a collection that works."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import orjson
from qdrant_client import grpc as q

from tests.support.qdrant import own_qdrant_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "key-of-the-test"
DIMENSIONS = 4
STORED = 10_000  # points that the heavy filter is evaluated on
_CONDITIONS = 100  # two seconds of one core for them all
_DISK = b"\xb0\x01"  # tag of max_disk_usage_percent, newer than the client

HEAVY, FORBIDDEN, LIMITED, READS, FULL, DISK = "heavy", "forbidden", "limited", "reads", "full", "disk"
NAMES = (HEAVY, FORBIDDEN, LIMITED, READS, FULL, DISK)


@dataclass
class Poisoned:
    """A server, the token of a worker that may write to all its collections but one, and its poisons.

    address: HOST:PORT of the gRPC API.
    """

    address: str
    token: str
    metadata: tuple[tuple[str, str], ...] = field(default=(("api-key", KEY),))

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def create(self, good: str) -> None:
        """Create the collection that works and those that fail."""
        strict: dict[str, Any] = {
            HEAVY: None,
            FORBIDDEN: None,
            LIMITED: q.StrictModeConfig(enabled=True, write_rate_limit=60),
            READS: q.StrictModeConfig(enabled=True, read_rate_limit=20),
            FULL: q.StrictModeConfig(enabled=True, max_points_count=1),
            DISK: disk_usage(1),
        }
        size = q.VectorParams(size=DIMENSIONS, distance=q.Distance.Dot)
        async with grpc.aio.insecure_channel(self.address) as channel:
            about: Any = q.CollectionsStub(channel)
            for name in (good, *NAMES):
                request = q.CreateCollection(
                    collection_name=name,
                    vectors_config=q.VectorsConfig(params=size),
                    strict_mode_config=strict.get(name),
                )
                await about.Create(request, metadata=self.metadata, timeout=60)
            points: Any = q.PointsStub(channel)
            # Qdrant counts the points of a collection at every 32nd write only.
            with suppress(grpc.aio.AioRpcError):
                for _ in range(64):
                    await points.Upsert(_points(FULL, 1), metadata=self.metadata, timeout=60)
            for first in range(0, STORED, 1000):
                await points.Upsert(_points(HEAVY, 1000, first), metadata=self.metadata, timeout=60)

    async def heal(self) -> None:
        """Let the collection whose disk is full be written again."""
        request = q.UpdateCollection(collection_name=DISK, strict_mode_config=disk_usage(100))
        async with grpc.aio.insecure_channel(self.address) as channel:
            about: Any = q.CollectionsStub(channel)
            await about.Update(request, metadata=self.metadata, timeout=60)


def disk_usage(percent: int) -> Any:
    """Strict mode that refuses writes above this use of the disk."""
    strict: Any = q.StrictModeConfig(enabled=True)
    strict.MergeFromString(_DISK + bytes([percent]))
    return strict


def _points(collection: str, count: int, first: int = 0) -> Any:
    payload = {f"k{n}": q.Value(string_value="words of the payload") for n in range(3)}
    return q.UpsertPoints(
        collection_name=collection,
        wait=True,
        points=[
            q.PointStruct(
                id=q.PointId(num=first + number),
                vectors=q.Vectors(vector=q.Vector(data=[1.0] * DIMENSIONS)),
                payload=payload,
            )
            for number in range(count)
        ],
    )


def bodies(name: str, number: int) -> tuple[str, bytes]:
    """The operation and the body of message `number` to a collection that fails."""
    if name == HEAVY:
        text = "x" * 200
        nested = [{"key": f"k{n}", "match": {"text": text}} for n in range(_CONDITIONS)]
        return "delete", orjson.dumps({"filter": {"min_should": {"conditions": nested, "min_count": 1}}})
    if name == READS:
        return "count", b"{}"
    points = [{"id": number, "vector": [1.0] * DIMENSIONS}]
    return "upsert", orjson.dumps({"points": points})


@contextmanager
def poisoned_server(data_dir: Path, good: str) -> Iterator[Poisoned]:
    """A server whose collections have to be created. Raises NoQdrantError."""
    with own_qdrant_server(data_dir, api_key=KEY, jwt_rbac="true") as address:
        yield Poisoned(address, token(good, *(name for name in NAMES if name != FORBIDDEN)))


def token(*collections: str) -> str:
    """A JSON Web Token that may read and write these collections alone."""
    access = [{"collection": name, "access": "rw"} for name in collections]
    head, claims = (_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, {"access": access}))
    signed = hmac.new(KEY.encode(), f"{head}.{claims}".encode(), hashlib.sha256).digest()
    return f"{head}.{claims}.{_part(signed)}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
