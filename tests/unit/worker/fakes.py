"""Stand-ins behind the pipeline's own protocols, for what needs no broker and no store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from memq_schemas import Names, headers
from memq_schemas.properties import Properties
from memq_worker.errors import BrokerUnavailable, Unroutable, WorkerError
from memq_worker.pipeline.batch import BatchLimits
from memq_worker.pipeline.command import ReplaceVectors, UpsertPoints
from memq_worker.pipeline.decode.bodies import Limits
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.options import PipelineOptions
from memq_worker.pipeline.outcome import RetryPolicy
from memq_worker.pipeline.reply_to import ReplyTo
from memq_worker.pipeline.store import Cell, Contract, PointsBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memq_schemas import CreateCollection, Filter, Get, Operation, Query, SetPayload
    from memq_worker.pipeline.ports import Reason

NAMES = Names()


def upserting(delivery: Delivery, collection: str, points: PointsBatch) -> UpsertPoints:
    return UpsertPoints(delivery, collection, points, points.ids)


def replacing(delivery: Delivery, collection: str, points: PointsBatch) -> ReplaceVectors:
    return ReplaceVectors(delivery, collection, points, points.ids)


@dataclass
class Published:
    exchange: str
    routing_key: str
    body: bytes
    properties: Properties

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class FakeLink:
    """Records what is settled, in order, and can lose its connection or its routes."""

    alive: bool = True
    acked: list[int] = field(default_factory=list)
    nacked: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    log: list[tuple[str, Any]] = field(default_factory=list)
    unroutable: set[str] = field(default_factory=set)
    abandoned: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def ack(self, tag: int) -> None:
        self.acked.append(tag)
        self._note("ack", tag)

    def nack(self, tag: int) -> None:
        self.nacked.append(tag)
        self._note("nack", tag)

    def reject(self, tag: int) -> None:
        self.rejected.append(tag)
        self._note("reject", tag)

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        await asyncio.sleep(0)  # as a confirm would, this gives others a turn
        if not self.alive:
            raise BrokerUnavailable("gone")
        if (exchange or routing_key) in self.unroutable:
            raise Unroutable(exchange)
        if any(isinstance(value, set) for value in properties.headers.values()):
            raise TypeError("no AMQP type for a set")
        self.published.append(Published(exchange, routing_key, body, properties))
        self._note("publish", exchange or routing_key)

    async def accepted(self, exchange: str, routing_key: str, properties: Properties) -> bool:
        raise Unroutable(exchange)

    def abandon(self, reason: str) -> None:
        self.abandoned = reason
        self.alive = False
        self._note("abandon", reason)

    def _note(self, what: str, value: Any) -> None:
        self.log.append((what, value))
        self.changed.set()

    async def until(self, predicate: Callable[[FakeLink], bool]) -> None:
        async with asyncio.timeout(5):
            while not predicate(self):
                self.changed.clear()
                await self.changed.wait()

    async def settled(self, count: int) -> None:
        await self.until(lambda link: len(link.acked) + len(link.nacked) >= count)

    def replies(self) -> list[Any]:
        return [p.json for p in self.published if not p.exchange]

    def moved(self, exchange: str) -> list[Published]:
        return [p for p in self.published if p.exchange == exchange]


@dataclass
class FakeStore:
    """Remembers points; calls can be made to fail or to wait."""

    sizes: dict[str, int] = field(default_factory=lambda: {"": 2})
    points: dict[Any, tuple[Cell | None, Any]] = field(default_factory=dict)
    writes: list[list[Any]] = field(default_factory=list)
    failures: list[Exception | None] = field(default_factory=list)
    refuse: Callable[[PointsBatch], Exception | None] = lambda _: None
    gate: asyncio.Event | None = None
    writing: asyncio.Event = field(default_factory=asyncio.Event)
    contract_asked: int = 0
    contract_error: Exception | None = None

    async def contract(self, collection: str, timeout: float | None = None) -> Contract:
        self.contract_asked += 1
        if self.contract_error is not None:
            raise self.contract_error
        return Contract(dict(self.sizes))

    async def _fail(self) -> None:
        self.writing.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failures and (error := self.failures.pop(0)) is not None:
            raise error

    async def upsert(self, collection: str, points: PointsBatch) -> None:
        await self._fail()
        if (error := self.refuse(points)) is not None:
            raise error
        self.writes.append(list(points.ids))
        rows = next(iter(points.columns.values()))
        for point, row, payload in zip(points.ids, rows, points.payloads, strict=True):
            self.points[point] = (row, payload)

    async def delete(self, collection: str, ids: list[Any] | None, where: Filter | None) -> None:
        await self._fail()
        self.writes.append(["delete", *(ids or ["filter"])])
        for point in ids if ids is not None else list(self.points):
            self.points.pop(point, None)

    async def delete_older(self, collection: str, versions: dict[Any, int]) -> None:
        await self._fail()
        self.writes.append(["delete older", versions])

    async def update_vectors(self, collection: str, points: PointsBatch) -> None:
        await self._fail()
        if (error := self.refuse(points)) is not None:
            raise error
        self.writes.append(["vectors", *points.ids])

    async def delete_vectors(
        self, collection: str, ids: list[Any] | None, where: Filter | None, names: list[str]
    ) -> None:
        await self._fail()
        self.writes.append(["remove vectors", *(ids or ["filter"])])

    async def set_payload(self, collection: str, change: SetPayload, preserved: tuple[str, ...] = ()) -> None:
        await self._fail()
        self.writes.append(["payload", *(change.ids or ["filter"])])

    async def query(self, collection: str, query: Query, timeout: float, share: int = 1) -> list[dict[str, Any]]:
        await self._fail()
        return [{"id": 1, "score": 0.5, "payload": {}}]

    async def queries(
        self, collection: str, queries: Sequence[Query], timeout: float, share: int
    ) -> list[list[dict[str, Any]] | WorkerError]:
        return [await self.query(collection, each, timeout, share) for each in queries]

    async def get(self, collection: str, get: Get, timeout: float) -> list[dict[str, Any]]:
        await self._fail()
        return []

    async def count(self, collection: str, where: Filter | None, timeout: float) -> int:
        await self._fail()
        return len(self.points)

    async def request(self, operation: Operation, collection: str, body: Any, timeout: float) -> Any:
        await self._fail()
        return {}

    async def list_collections(self, timeout: float) -> list[str]:
        await self._fail()
        return ["docs"]

    async def create_collection(self, collection: str, body: CreateCollection, timeout: float) -> bool:
        await self._fail()
        return True

    async def describe_collection(self, collection: str, timeout: float) -> dict[str, Any]:
        await self._fail()
        return {"name": collection}

    async def drop_collection(self, collection: str, timeout: float) -> bool:
        await self._fail()
        return True


@dataclass
class Watch:
    """An observer that keeps what it was told."""

    outcomes: list[tuple[str, str, str]] = field(default_factory=list)
    batches: list[tuple[int, int]] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    tiers: list[int] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    skews: int = 0
    holds: list[bool] = field(default_factory=list)
    holding: asyncio.Event = field(default_factory=asyncio.Event)

    def settled(self, operation: str, outcome: str, deliveries: Sequence[Delivery], code: str = "") -> None:
        self.outcomes += [(operation, outcome, code)] * len(deliveries)

    def wrote(self, operation: str, reason: Reason, points: int, messages: int) -> None:
        self.batches.append((points, messages))
        self.reasons.append(reason)

    def retried(self, tier: int) -> None:
        self.tiers.append(tier)

    def dead_lettered(self, code: str) -> None:
        self.dead.append(code)

    def skewed(self) -> None:
        self.skews += 1

    def replied(self, outcome: str) -> None:
        self.replies.append(outcome)

    def held(self, held: bool) -> None:
        self.holds.append(held)
        self.holding.set()


def options(**changes: Any) -> PipelineOptions:
    given: dict[str, Any] = {
        "names": NAMES,
        "worker": "w1",
        "limits": Limits(max_body_bytes=100_000, max_points=100),
        "batches": BatchLimits(max_points=50, max_bytes=100_000),
        "retries": RetryPolicy(max_attempts=3),
        "writes_in_flight": 2,
        "store_writes": 4,
        "reply_to": ReplyTo(NAMES, any_queue=True),
        "request_timeout_seconds": 5.0,
    }
    return PipelineOptions(**given | changes)


def delivery(
    link: FakeLink,
    tag: int,
    body: Any,
    key: str = "upsert.docs",
    reply_to: str | None = None,
    queue: str | None = None,
    extra: dict[str, Any] | None = None,
    content_type: str | None = headers.JSON,
) -> Delivery:
    return Delivery(
        link=link,
        tag=tag,
        queue=queue or (NAMES.write if key.startswith(("upsert", "delete", "payload")) else NAMES.query),
        routing_key=key,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        properties=Properties(
            content_type=content_type, reply_to=reply_to, correlation_id=f"c{tag}", headers=extra or {}
        ),
    )


def upsert(*ids: Any, vector: Any = (1.0, 2.0), **fields: Any) -> dict[str, Any]:
    return {"points": [{"id": i, "vector": list(vector), **fields} for i in ids]}
