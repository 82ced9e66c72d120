"""The requests that made-up users send, each timed and recorded."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from memq_cli.load.record import code_of
from memq_schemas import ErrorCode, Operation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from memq.changes import PointRow
    from memq.producer import Producer
    from memq_cli.load.points import Points
    from memq_cli.load.record import Record

QUERY_LIMIT = 10
GET_IDS = 5
BAD = "bad"
NOT_REFUSED = "not_refused"
BARRIER = 32


@asynccontextmanager
async def own_collection(producer: Producer, name: str, points: Points, *, keep: bool) -> AsyncGenerator[bool]:
    """Made if it is missing, and then, unless `keep`, deleted in the end. Gives whether it was made."""
    made = (await producer.collections.create(name, points.size, exist_ok=True)).created
    try:
        yield made
    finally:
        if made and not keep:
            # A write that comes after the deletion would be a dead letter. Queues are in order, and as many as this
            # at once come to every worker: when they are applied, so is what was sent before.
            rows = [points.rows(1) for _ in range(BARRIER)]
            await asyncio.gather(*(producer.upsert(name, row, wait=True) for row in rows))
            await producer.collections.delete(name)


class Session:
    """batch: points in an upsert.   applied: whether a write has ended when Qdrant has it, or when the broker has."""

    def __init__(
        self, producer: Producer, collection: str, points: Points, record: Record, *, batch: int, applied: bool
    ) -> None:
        self._producer = producer
        self._collection = collection
        self._points = points
        self._record = record
        self._batch = batch
        self._applied = applied
        self._bad = itertools.cycle((self._wrong_upsert, self._wrong_query, self._lost_upsert, self._lost_get))

    async def upsert_and_query(self) -> None:
        """Run the requests of one user."""
        await self.request(Operation.UPSERT)
        await self.request(Operation.QUERY)

    async def request(self, operation: Operation, since: float | None = None) -> None:
        """since: from when its time is counted, of the loop's clock; None from now."""
        await self._timed(operation.value, code_of(self._calls[operation](self)), since)

    async def bad(self, since: float | None = None) -> None:
        """A request that has to be refused; an error when it is not."""
        await self._timed(BAD, next(self._bad)(), since)

    async def _timed(self, name: str, request: Awaitable[str | None], since: float | None) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time() if since is None else since
        code = await request
        self._record.add(name, loop.time() - began, code)

    async def _upsert(self) -> None:
        await self._producer.upsert(self._collection, self._points.rows(self._batch), wait=self._applied)

    async def _query(self) -> None:
        await self._producer.query(self._collection, self._points.vector(), QUERY_LIMIT)

    async def _get(self) -> None:
        await self._producer.get(self._collection, self._points.ids(GET_IDS))

    async def _count(self) -> None:
        await self._producer.count(self._collection, filter=self._points.filter())

    async def _payload(self) -> None:
        # As a filter: an id that is not there, or not yet, would be refused.
        one = {"must": [{"has_id": self._points.ids(1)}]}
        await self._producer.set_payload(self._collection, filter=one, set=self._points.payload(), wait=self._applied)

    async def _delete(self) -> None:
        await self._producer.delete(self._collection, self._points.ids(1), wait=self._applied)

    _calls: dict[Operation, Callable[[Session], Awaitable[None]]] = {  # noqa: RUF012 nobody changes it
        Operation.UPSERT: _upsert,
        Operation.QUERY: _query,
        Operation.GET: _get,
        Operation.COUNT: _count,
        Operation.PAYLOAD: _payload,
        Operation.DELETE: _delete,
    }

    async def _wrong_upsert(self) -> str | None:
        row: PointRow = {"id": 0, "vector": [*self._points.vector(), 0.0]}
        return await code_of(self._producer.upsert(self._collection, [row]))

    async def _lost_upsert(self) -> str | None:
        return await code_of(self._producer.upsert(self._missing, self._points.rows(1)))

    async def _wrong_query(self) -> str | None:
        query = self._producer.query(self._collection, [*self._points.vector(), 0.0])
        return _refused(await code_of(query), ErrorCode.WRONG_DIMENSION)

    async def _lost_get(self) -> str | None:
        return _refused(await code_of(self._producer.get(self._missing, [0])), ErrorCode.UNKNOWN_COLLECTION)

    @property
    def _missing(self) -> str:
        return f"{self._collection}-that-is-not-there"


def _refused(code: str | None, expected: ErrorCode) -> str | None:
    """The code as one of an error: none when it is the expected one."""
    return None if code == expected else code or NOT_REFUSED
