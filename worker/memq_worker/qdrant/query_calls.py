from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from memq_qdrant import grpc as q
from memq_schemas import Query
from memq_worker.errors import MessageError, WorkerError
from memq_worker.qdrant import reads
from memq_worker.qdrant.query_groups import QueryGroups
from memq_worker.qdrant.replies import ReplyLimit

Ask = Callable[[Any, Any, float], Awaitable[Any]]
Hits = list[dict[str, Any]]


class QueryCalls:
    """Queries asked of Qdrant, those that come together in one call."""

    def __init__(self, points: Any, ask: Ask, replies: ReplyLimit) -> None:
        """points: the stub of Qdrant's points.   ask: calls a method of it, with a request and a timeout in seconds."""
        self._points = points
        self._ask = ask
        self._replies = replies
        self._groups = QueryGroups(self._one, self._many)

    async def query(self, collection: str, query: Query, timeout: float, share: int) -> Hits:
        """See pipeline.store.Store."""
        request = reads.query_request(collection, query)
        if query.group_by is None:
            return self._hits(query, await self._groups.ask(collection, request, timeout), share)
        reply = await self._ask(self._points.QueryGroups, request, timeout)
        made = self._replies.none(share)
        for group in reply.result.groups:
            key = reads.group_key(group)
            made.add(group, group.hits, lambda point, key=key: {**reads.scored(point, query), "group": key})
        return made.points

    async def queries(
        self, collection: str, queries: Sequence[Query], timeout: float, share: int
    ) -> list[Hits | WorkerError]:
        """See pipeline.store.Store."""
        requests, refused = list[Any](), dict[int, MessageError]()
        for at, query in enumerate(queries):
            try:
                requests.append(reads.query_request(collection, query))
            except MessageError as error:
                refused[at] = error
        answers = iter(await self._groups.ask_all(collection, requests, timeout))
        return [refused.get(at) or self._result(query, next(answers), share) for at, query in enumerate(queries)]

    def _result(self, query: Query, answer: Any, share: int) -> Hits | WorkerError:
        if isinstance(answer, WorkerError):
            return answer
        try:
            return self._hits(query, answer, share)
        except MessageError as error:
            return error

    def _hits(self, query: Query, answer: Any, share: int) -> Hits:
        made = self._replies.none(share)
        made.add(answer, answer.result, lambda point: reads.scored(point, query))
        return made.points

    async def _one(self, request: Any, timeout: float) -> Any:
        return await self._ask(self._points.Query, request, timeout)

    async def _many(self, collection: str, requests: Sequence[Any], timeout: float) -> Sequence[Any]:
        batch = q.QueryBatchPoints(collection_name=collection, query_points=requests)
        reply = await self._ask(self._points.QueryBatch, batch, timeout)
        return reply.result

    async def close(self) -> None:
        await self._groups.close()
