import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from memq_qdrant import grpc as q
from memq_schemas import CreateCollection, ErrorCode, Filter, Get, Operation, Query, SetPayload, UpdateCollection
from memq_worker.errors import MessageError, Outage, WorkerError
from memq_worker.pipeline.store import Contract, Id, PointsBatch
from memq_worker.qdrant import collections, encode, filters, reads
from memq_worker.qdrant.channel import Security, open_channel
from memq_worker.qdrant.comparison import check_same
from memq_worker.qdrant.errors import KEY_REFUSED, translate, translated
from memq_worker.qdrant.features import EXTERNAL, Features
from memq_worker.qdrant.minimum_version import minimum_version
from memq_worker.qdrant.payloads import PayloadChanges
from memq_worker.qdrant.query_calls import QueryCalls
from memq_worker.qdrant.replies import MAX_REPLY_BYTES, ReplyLimit, too_large
from memq_worker.qdrant.requests import Requests
from memq_worker.qdrant.upserts import upsert_request, vectors_request
from memq_worker.qdrant.vector_changes import check_stored, removal_request
from memq_worker.qdrant.version import check_version

_LARGER = "larger than max"
_IDENTITY_KEY = "memq-store"


class QdrantStore:
    """pipeline.store.Store over Qdrant's gRPC API, the embedded engine included."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        api_key: str | None,
        timeout_seconds: float,
        replies: ReplyLimit,
        *,
        filter_timeout_seconds: float | None = None,
        guarded: bool = False,
        reread: Callable[[], str | None] | None = None,
    ) -> None:
        points: Any = q.PointsStub(channel)  # the generated stubs are untyped
        about: Any = q.CollectionsStub(channel)
        service: Any = q.QdrantStub(channel)
        self._points, self._about, self._service = points, about, service
        # The stub would serialize a message; this takes the bytes.
        self._upsert: Any = channel.unary_unary(
            "/qdrant.Points/Upsert", response_deserializer=q.PointsOperationResponse.FromString
        )
        self._update_vectors: Any = channel.unary_unary(
            "/qdrant.Points/UpdateVectors", response_deserializer=q.PointsOperationResponse.FromString
        )
        self._features = Features(self.version, self.identity)
        self._payloads = PayloadChanges(points, self._read, self._update, self._most_per_query, self._seconds)
        self._key = _key(api_key)
        self._reread = reread
        self._admitted: tuple[tuple[str, str], ...] | None = None if guarded else ()
        self._timeout_seconds = timeout_seconds
        self._replies = replies
        self._requests = Requests(points, about, self._ask, replies)
        self._filter_timeout_seconds = filter_timeout_seconds or timeout_seconds
        self._queries = QueryCalls(points, self._ask, replies)

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        if self._admitted is None:
            raise Outage(
                ErrorCode.STORE_UNAVAILABLE, "the store's identity has not been confirmed yet", stage="write", away=True
            )
        return (*self._key, *self._admitted)

    def admit(self, identity: str) -> None:
        """Send every request on to the store of this identity; memq's engine refuses it if it has another one."""
        self._admitted = ((_IDENTITY_KEY, identity),)

    async def _call(self, method: Any, request: Any, timeout: float, *, checked: bool = True) -> Any:
        """Call the store; once more if it refuses the API key and the file of the key has another by now.

        checked: only once the store's identity is confirmed.
        """
        while True:
            key = self._key
            try:
                return await method(request, timeout=timeout, metadata=self._metadata if checked else key)
            except grpc.aio.AioRpcError as error:
                if error.code() not in KEY_REFUSED or not self._renewed(key):
                    raise

    def _renewed(self, used: tuple[tuple[str, str], ...]) -> bool:
        """Return True if there is another API key than the one that was used."""
        if self._reread is not None and self._key == used and (found := self._reread()) is not None:
            self._key = _key(found)
        return self._key != used

    async def version(self) -> str:
        return str((await self._health()).version)

    async def identity(self) -> str:
        """Return the UUID of the embedded engine's data directory, or "external" for a Qdrant server.

        Raises ConfigurationError for a server that is too old.
        """

        async def health(request: Any, **options: Any) -> Any:
            call = self._service.HealthCheck(request, **options)
            check_version((await call).version)
            return await call.trailing_metadata()

        with translated("preflight"):
            trailers = await self._call(health, q.HealthCheckRequest(), self._timeout_seconds, checked=False)
        found = {str(key): str(value) for key, value in trailers or ()}
        return found.get(_IDENTITY_KEY, EXTERNAL)

    async def _health(self) -> Any:
        checked = self._admitted is not None
        with translated("preflight"):
            return await self._call(
                self._service.HealthCheck, q.HealthCheckRequest(), self._timeout_seconds, checked=checked
            )

    async def contract(self, collection: str, timeout: float | None = None) -> Contract:
        return collections.contract_of(await self._info(collection, timeout or self._timeout_seconds, "validate"))

    async def upsert(self, collection: str, points: PointsBatch) -> None:
        if points.mode != "upsert":
            await self._features.require(f"mode: {points.mode}", 1, 17)
        await self._update(self._upsert, upsert_request(collection, points))

    async def delete(self, collection: str, ids: list[Id] | None, where: Filter | None) -> None:
        request = q.DeletePoints(collection_name=collection, wait=True, points=encode.selector(ids, where))
        await self._update(self._points.Delete, request, self._seconds(ids))

    async def delete_older(self, collection: str, versions: dict[Id, int]) -> None:
        chosen = q.PointsSelector(filter=encode.older_than(versions))
        await self._update(self._points.Delete, q.DeletePoints(collection_name=collection, wait=True, points=chosen))

    async def set_payload(self, collection: str, change: SetPayload, preserved: tuple[str, ...] = ()) -> None:
        await self._payloads.change(collection, change, preserved)

    async def update_vectors(self, collection: str, points: PointsBatch) -> None:
        check_stored(points.ids, await self._payloads.stored(collection, points.ids), "points[{}].id")
        await self._update(self._update_vectors, vectors_request(collection, points))

    async def delete_vectors(
        self, collection: str, ids: list[Id] | None, where: Filter | None, names: list[str]
    ) -> None:
        if ids is not None:
            # Qdrant removes those of the points that it finds before it refuses the whole for one that it does not.
            check_stored(ids, await self._payloads.stored(collection, ids), "ids[{}]")
        await self._update(
            self._points.DeleteVectors, removal_request(collection, ids, where, names), self._seconds(ids)
        )

    async def _read(self, method: Any, request: Any) -> Any:
        with translated():
            return await self._call(method, request, self._timeout_seconds)

    async def _most_per_query(self, collection: str) -> int | None:
        return collections.most_per_query(await self._info(collection, self._timeout_seconds, "write"))

    async def query(self, collection: str, query: Query, timeout: float, share: int = 1) -> list[dict[str, Any]]:
        return await self._queries.query(collection, query, timeout, share)

    async def queries(
        self, collection: str, queries: Sequence[Query], timeout: float, share: int
    ) -> list[list[dict[str, Any]] | WorkerError]:
        return await self._queries.queries(collection, queries, timeout, share)

    async def close(self) -> None:
        await self._queries.close()

    async def get(self, collection: str, get: Get, timeout: float) -> list[dict[str, Any]]:
        made = self._replies.none()
        for ids in self._replies.pages(get.ids, made):
            reply = await self._ask(self._points.Get, reads.get_request(collection, get, ids), timeout)
            made.add(reply, reply.result, lambda point: reads.record(point, get.with_payload, get.with_vector))
        return made.points

    async def count(self, collection: str, where: Filter | None, timeout: float) -> int:
        request = q.CountPoints(collection_name=collection, filter=filters.where(where), exact=True)
        reply = await self._ask(self._points.Count, request, timeout)
        return int(reply.result.count)

    async def request(self, operation: Operation, collection: str, body: Any, timeout: float) -> Any:
        if isinstance(body, UpdateCollection):
            await self._check_version(body, timeout)
        return await self._requests.answer(operation, collection, body, timeout)

    async def list_collections(self, timeout: float) -> list[str]:
        reply = await self._ask(self._about.List, q.ListCollectionsRequest(), timeout)
        return sorted(item.name for item in reply.collections)

    async def create_collection(self, collection: str, body: CreateCollection, timeout: float) -> bool:
        await self._check_version(body, timeout)
        try:
            await self._ask(self._about.Create, collections.create_request(collection, body), timeout)
        except MessageError as error:
            if error.code is not ErrorCode.COLLECTION_EXISTS or not body.exist_ok:
                raise
            check_same(collection, body, await self._info(collection, timeout, "answer"))
            return False
        return True

    async def _check_version(self, body: Any, timeout: float) -> None:
        needed = minimum_version(body.model_dump(exclude_none=True))
        if needed is not None:
            needed.check(str((await self._ask(self._service.HealthCheck, q.HealthCheckRequest(), timeout)).version))

    async def describe_collection(self, collection: str, timeout: float) -> dict[str, Any]:
        info = await self._info(collection, timeout, "answer")
        return collections.description(collection, info, await self._requests.aliases_of(collection, timeout))

    async def drop_collection(self, collection: str, timeout: float) -> bool:
        reply = await self._ask(self._about.Delete, q.DeleteCollection(collection_name=collection), timeout)
        return bool(reply.result)

    async def _info(self, collection: str, timeout: float, stage: str) -> Any:
        request = q.GetCollectionInfoRequest(collection_name=collection)
        with translated(stage):
            reply = await self._call(self._about.Get, request, timeout)
        return reply.result

    async def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        with translated("answer", deadline_is_the_callers=True):
            try:
                return await self._call(method, request, timeout)
            except grpc.aio.AioRpcError as error:
                # Said by our own side of the connection, of more than receive_bytes.
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _LARGER in (error.details() or ""):
                    raise too_large(self._replies.most) from error
                raise

    def _seconds(self, ids: list[Id] | None) -> float:
        return self._filter_timeout_seconds if ids is None else self._timeout_seconds

    async def _update(self, method: Any, request: Any, timeout: float | None = None) -> None:
        try:
            reply = await self._call(method, request, timeout or self._timeout_seconds)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            translate(error)
        for result in reply.result if isinstance(reply, q.UpdateBatchResponse) else [reply.result]:
            if result.status != q.UpdateStatus.Completed:
                # WaitTimeout and Acknowledged come back as success, but the points cannot be found yet.
                name = q.UpdateStatus.Name(result.status)
                raise Outage(ErrorCode.DEADLINE_EXCEEDED, f"Qdrant answered {name} instead of Completed")


def _key(api_key: str | None) -> tuple[tuple[str, str], ...]:
    return (("api-key", api_key),) if api_key else ()


@asynccontextmanager
async def open_store(
    url: str,
    api_key: str | None,
    timeout_seconds: float,
    *,
    filter_timeout_seconds: float | None = None,
    guarded: bool = False,
    max_reply_bytes: int = MAX_REPLY_BYTES,
    security: Security | None = None,
) -> AsyncGenerator[QdrantStore]:
    """A store that connects when it is first used.

    `url` is http(s)://host:port of the gRPC port, 6334 by default. guarded: refuse every call but `version` and
    `identity` until `admit` is called. max_reply_bytes: of the JSON of the points that a call returns.
    """
    security = security or Security()
    replies = ReplyLimit(max_reply_bytes)
    async with open_channel(url, security, replies.receive_bytes) as channel:
        store = QdrantStore(
            channel,
            api_key,
            timeout_seconds,
            replies,
            filter_timeout_seconds=filter_timeout_seconds,
            guarded=guarded,
            reread=security.reread,
        )
        try:
            yield store
        finally:
            await store.close()
