import time
from types import TracebackType
from typing import Any

from memq_schemas import CreateCollection, ErrorCode, Filter, Get, Query, SetPayload
from memq_worker.errors import WorkerError
from memq_worker.observe.metrics import Metrics
from memq_worker.pipeline.store import Contract, Id, PointsBatch, Store


class _Call:
    """A context manager by hand: contextlib's would cost as much as all the counting of a message."""

    __slots__ = ("_metrics", "_name", "_started")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        seconds = time.perf_counter() - self._started
        if error is None:
            self._metrics.called(self._name, "ok", seconds)
        elif isinstance(error, WorkerError):
            self._metrics.called(self._name, error.code.value, seconds)
        elif isinstance(error, Exception):
            self._metrics.called(self._name, ErrorCode.UNEXPECTED.value, seconds)
        # A cancelled call has no end that says anything about the store.


class MeteredStore:
    """pipeline.store.Store around another, with every call counted and timed."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def _call(self, name: str) -> "_Call":
        return _Call(self._metrics, name)

    async def contract(self, collection: str, timeout: float | None = None) -> Contract:
        with self._call("contract"):
            return await self._store.contract(collection, timeout)

    async def upsert(self, collection: str, points: PointsBatch) -> None:
        with self._call("upsert"):
            await self._store.upsert(collection, points)

    async def delete(self, collection: str, ids: list[Id] | None, where: Filter | None) -> None:
        with self._call("delete"):
            await self._store.delete(collection, ids, where)

    async def delete_older(self, collection: str, versions: dict[Id, int]) -> None:
        with self._call("delete"):
            await self._store.delete_older(collection, versions)

    async def set_payload(self, collection: str, change: SetPayload) -> None:
        with self._call("payload"):
            await self._store.set_payload(collection, change)

    async def query(self, collection: str, query: Query, timeout: float) -> list[dict[str, Any]]:
        with self._call("query"):
            return await self._store.query(collection, query, timeout)

    async def get(self, collection: str, get: Get, timeout: float) -> list[dict[str, Any]]:
        with self._call("get"):
            return await self._store.get(collection, get, timeout)

    async def count(self, collection: str, where: Filter | None, timeout: float) -> int:
        with self._call("count"):
            return await self._store.count(collection, where, timeout)

    async def list_collections(self, timeout: float) -> list[str]:
        with self._call("collections"):
            return await self._store.list_collections(timeout)

    async def create_collection(self, collection: str, body: CreateCollection, timeout: float) -> bool:
        with self._call("collections"):
            return await self._store.create_collection(collection, body, timeout)

    async def describe_collection(self, collection: str, timeout: float) -> dict[str, Any]:
        with self._call("collections"):
            return await self._store.describe_collection(collection, timeout)

    async def drop_collection(self, collection: str, timeout: float) -> bool:
        with self._call("collections"):
            return await self._store.drop_collection(collection, timeout)
