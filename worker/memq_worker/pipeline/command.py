from dataclasses import dataclass
from typing import Any

from memq_schemas import (
    ChangeVectors,
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteIndex,
    Facet,
    Filter,
    Get,
    NameAlias,
    Operation,
    Queries,
    Query,
    Scroll,
    SetPayload,
    UpdateCollection,
)
from memq_schemas.collections import Empty
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.store import Id, PointsBatch

RequestBody = (
    Query
    | Queries
    | Get
    | Count
    | Scroll
    | Facet
    | CreateCollection
    | UpdateCollection
    | CreateIndex
    | DeleteIndex
    | NameAlias
    | Empty
)


@dataclass(slots=True, eq=False)
class UpsertPoints:
    delivery: Delivery
    collection: str
    points: PointsBatch
    ids: list[Id]

    operation = Operation.UPSERT

    @property
    def result(self) -> dict[str, Any]:
        return {"upserted": len(self.points)}


@dataclass(slots=True, eq=False)
class DeletePoints:
    delivery: Delivery
    collection: str
    body: Delete

    operation = Operation.DELETE

    @property
    def ids(self) -> list[Id] | None:
        return self.body.ids

    @property
    def filter(self) -> Filter | None:
        return self.body.filter

    @property
    def version(self) -> int | None:
        return self.body.version

    @property
    def result(self) -> dict[str, Any]:
        return {"deleted": None if self.ids is None else len(self.ids)}


@dataclass(slots=True, eq=False)
class ChangePayload:
    delivery: Delivery
    collection: str
    body: SetPayload
    preserved: tuple[str, ...] = ()  # payload keys that survive an overwrite, besides the version

    operation = Operation.PAYLOAD

    @property
    def ids(self) -> list[Id] | None:
        return self.body.ids

    @property
    def result(self) -> dict[str, Any]:
        return {"updated": None if self.ids is None else len(self.ids)}


@dataclass(slots=True, eq=False)
class ReplaceVectors:
    delivery: Delivery
    collection: str
    points: PointsBatch
    ids: list[Id]

    operation = Operation.VECTORS

    @property
    def result(self) -> dict[str, Any]:
        return {"updated": len(self.points)}


@dataclass(slots=True, eq=False)
class RemoveVectors:
    delivery: Delivery
    collection: str
    body: ChangeVectors

    operation = Operation.VECTORS

    @property
    def ids(self) -> list[Id] | None:
        return self.body.ids

    @property
    def names(self) -> list[str]:
        return self.body.remove or []

    @property
    def result(self) -> dict[str, Any]:
        return {"updated": None if self.ids is None else len(self.ids)}


Write = UpsertPoints | DeletePoints | ChangePayload | ReplaceVectors | RemoveVectors


@dataclass(slots=True, eq=False)
class Request:
    """Something to answer: the collection is None for operations without one, such as `collections.list`.

    share: this many requests share the size of one reply.
    """

    delivery: Delivery
    operation: Operation
    collection: str | None
    body: RequestBody
    share: int = 1
