from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from memq_schemas import ErrorCode, Operation
from memq_worker.errors import WorkerError

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import CoroutineType

    from memq_schemas import CreateCollection, Filter, Get, Query, SetPayload
    from memq_worker.observe.metrics import Metrics
    from memq_worker.pipeline.store import Contract, Id, PointsBatch, Store

    Call = CoroutineType[Any, Any, T]


class MeteredStore:
    """pipeline.store.Store around another, with every call counted and timed.

    No method is a coroutine function: what that costs would be half of what it costs to count a message.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._called = metrics.called

    async def _timed(self, name: str, call: Awaitable[T]) -> T:
        started = time.perf_counter()
        try:
            answer = await call
        except Exception as error:
            code = error.code if isinstance(error, WorkerError) else ErrorCode.UNEXPECTED
            self._called(name, code.value, time.perf_counter() - started)
            raise
        # A cancelled call has no end that says anything about the store.
        self._called(name, "ok", time.perf_counter() - started)
        return answer

    def contract(self, collection: str, timeout: float | None = None) -> Call[Contract]:
        return self._timed("contract", self._store.contract(collection, timeout))

    def upsert(self, collection: str, points: PointsBatch) -> Call[None]:
        return self._timed("upsert", self._store.upsert(collection, points))

    def delete(self, collection: str, ids: list[Id] | None, where: Filter | None) -> Call[None]:
        return self._timed("delete", self._store.delete(collection, ids, where))

    def delete_older(self, collection: str, versions: dict[Id, int]) -> Call[None]:
        return self._timed("delete", self._store.delete_older(collection, versions))

    def update_vectors(self, collection: str, points: PointsBatch) -> Call[None]:
        return self._timed("vectors", self._store.update_vectors(collection, points))

    def delete_vectors(
        self, collection: str, ids: list[Id] | None, where: Filter | None, names: list[str]
    ) -> Call[None]:
        return self._timed("vectors", self._store.delete_vectors(collection, ids, where, names))

    def set_payload(self, collection: str, change: SetPayload, preserved: tuple[str, ...] = ()) -> Call[None]:
        return self._timed("payload", self._store.set_payload(collection, change, preserved))

    def query(self, collection: str, query: Query, timeout: float) -> Call[list[dict[str, Any]]]:
        return self._timed("query", self._store.query(collection, query, timeout))

    def get(self, collection: str, get: Get, timeout: float) -> Call[list[dict[str, Any]]]:
        return self._timed("get", self._store.get(collection, get, timeout))

    def count(self, collection: str, where: Filter | None, timeout: float) -> Call[int]:
        return self._timed("count", self._store.count(collection, where, timeout))

    def request(self, operation: Operation, collection: str, body: Any, timeout: float) -> Call[Any]:
        name = operation.value.partition(".")[0]
        return self._timed(name, self._store.request(operation, collection, body, timeout))

    def list_collections(self, timeout: float) -> Call[list[str]]:
        return self._timed("collections", self._store.list_collections(timeout))

    def create_collection(self, collection: str, body: CreateCollection, timeout: float) -> Call[bool]:
        return self._timed("collections", self._store.create_collection(collection, body, timeout))

    def describe_collection(self, collection: str, timeout: float) -> Call[dict[str, Any]]:
        return self._timed("collections", self._store.describe_collection(collection, timeout))

    def drop_collection(self, collection: str, timeout: float) -> Call[bool]:
        return self._timed("collections", self._store.drop_collection(collection, timeout))
