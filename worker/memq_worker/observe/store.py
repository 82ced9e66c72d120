import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from memq_schemas import CreateCollection, ErrorCode, Filter, Get, Query, SetPayload
from memq_worker.errors import WorkerError
from memq_worker.observe.metrics import Metrics
from memq_worker.pipeline.store import Contract, Id, PointsBatch, Store


class MeteredStore:
    """pipeline.store.Store around another, with every call counted and timed."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    @contextmanager
    def _call(self, name: str) -> Generator[None]:
        started = time.perf_counter()
        code = "ok"
        try:
            yield
        except WorkerError as error:
            code = error.code.value
            raise
        except asyncio.CancelledError:
            code = ""  # it has no end that says anything about the store
            raise
        except Exception:
            code = ErrorCode.UNEXPECTED.value
            raise
        finally:
            if code:
                self._metrics.called(name, code, time.perf_counter() - started)

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
