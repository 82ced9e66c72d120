from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from uuid import UUID

from pydantic import TypeAdapter

from memq import batches
from memq.address import addresses
from memq.answers import CountAnswer, GetAnswer, QueryAnswer, Receipt
from memq.calls import Calls, read
from memq.collections import Collections
from memq.dead import DeadLetters
from memq.errors import InvalidRequest, MemqError
from memq.link import ConnectionChange, Link
from memq.replies import Pending
from memq.requests import body, vector_text, wire_ids
from memq.sender import Outgoing, Sender
from memq.splitter import Splitter
from memq.window import Window
from memq.writes import Writes
from memq_schemas import (
    Count,
    Counted,
    Delete,
    Filter,
    Get,
    Names,
    Operation,
    Point,
    Query,
    Record,
    ScoredPoint,
    SetPayload,
)
from memq_schemas.topology import DEFAULT_PREFIX

if TYPE_CHECKING:
    from types import TracebackType

    from memq_schemas.model import Model

Id: TypeAlias = int | str | UUID
Row: TypeAlias = Mapping[str, Any] | Point | Sequence[Any]
FilterLike: TypeAlias = Filter | Mapping[str, Any]

MIB = 1024 * 1024
WINDOW_BYTES = 32 * MIB
IDS_PER_MESSAGE = 1000

_SCORED = TypeAdapter(list[ScoredPoint])
_RECORDS = TypeAdapter(list[Record])
_COUNTED = TypeAdapter(Counted)


class Producer:
    """Writes points through RabbitMQ and asks questions about them; `async with Producer(url) as memq:`.

    One connection, any number of calls at once. While the broker is away calls wait, up to their timeouts.

    url: one broker, several (tried in turn), or None for MEMQ_AMQP_URL or amqp://guest:guest@127.0.0.1:5672/.
    timeout: seconds for an answer, and for the first connection.   confirm_timeout: seconds for the broker's confirm.
    max_points_per_message, max_message_bytes: where upserts are split; a worker refuses what exceeds its own limits.
    max_in_flight: unconfirmed writes at once (and at most 32 MiB of them); more wait, which slows the caller down.
    buffer_timeout: seconds that a write waits for this room before it raises BufferFull; None for as long as it takes.
    on_connection: called with a ConnectionChange when the connection is lost and when it is back.

    Entering raises ConfigurationError (address, user, vhost), TopologyMissing, or BrokerUnavailable after `timeout`.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = 30.0,
        confirm_timeout: float = 30.0,
        max_message_bytes: int = MIB,
        max_points_per_message: int = 100,
        max_in_flight: int = 512,
        buffer_timeout: float | None = None,
        name: str = "memq",
        on_connection: Callable[[ConnectionChange], None] | None = None,
    ) -> None:
        limits = (timeout, confirm_timeout, max_message_bytes, max_points_per_message, max_in_flight)
        if min(*limits, 1 if buffer_timeout is None else buffer_timeout) <= 0:
            raise InvalidRequest("timeouts and limits have to be greater than zero")
        self._brokers = addresses(url)
        self._names = Names(prefix)
        self._timeout = timeout
        self._confirm_timeout = confirm_timeout
        self._max_bytes = max_message_bytes
        self._max_points = max_points_per_message
        self._max_in_flight = max_in_flight
        self._buffer_timeout = buffer_timeout
        self._name = name
        self._on_connection = on_connection
        self._open: _Open | None = None

    async def __aenter__(self) -> Self:
        pending = Pending()
        link = Link(self._brokers, self._names, pending, client=self._name, listener=self._on_connection)
        await link.open(self._timeout)
        self._open = _Open(link, pending, self._timeout, self._max_bytes, self._max_in_flight)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._open = self._opened, None
        await opened.link.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker at this moment."""
        return self._open is not None and self._open.link.connected

    @property
    def ignored_replies(self) -> int:
        """Answers that came after their caller had given up, or that nobody had asked for."""
        return self._opened.pending.ignored

    @property
    def collections(self) -> Collections:
        return Collections(self._opened.calls)

    @property
    def dead(self) -> DeadLetters:
        """What no worker could apply: look at it, send it again, remove it."""
        opened = self._opened
        return DeadLetters(opened.link, opened.sender, self._names.dead, self._name, self._confirm_timeout)

    async def upsert(
        self,
        collection: str,
        points: Iterable[Row] | AsyncIterable[Row] | None = None,
        *,
        ids: Sequence[Id] | Any = None,
        vectors: Any = None,
        payloads: Sequence[Mapping[str, Any] | None] | Any = None,
        versions: Sequence[int | None] | Any = None,
        wait: bool = False,
        progress: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Inserts points or replaces those with the same ids. Returns when the broker has them all safe; with `wait`
        when the worker has applied them.

        points: an iterable, or an async one, of dicts {"id", "vector", "payload"?, "version"?}, Points, or tuples
        (id, vector[, payload[, version]]). It is read as it is sent, never as a whole.
        ids, vectors, payloads, versions: the same as columns; vectors of shape (points, dimensions), any float or
        integer numpy array or a list of lists. Vectors travel as float32.
        progress: called after every delivered message with a Receipt of the call so far.

        Raises InvalidPoint, Unconfirmed, BufferFull, Unroutable, with `wait` also RemoteError and ReplyTimeout. Their
        `points` say which message failed, `confirmed` what was delivered; messages of one call may arrive in any order.
        A NaN in a payload becomes null, a date RFC 3339 text (UTC where it has no zone).
        """
        splitter = Splitter(self._max_points, self._max_bytes)
        if points is None:
            source = batches.from_columns(batches.columns(ids, vectors, payloads, versions), splitter)
        elif ids is None and vectors is None and payloads is None and versions is None:
            source = batches.from_rows(points, splitter)
        else:
            raise InvalidRequest("give points or columns, not both")
        messages = (
            (batch.positions, self._opened.calls.outgoing(Operation.UPSERT, collection, batch.body()))
            async for batch in source
        )
        return await self._writes(wait, progress).run(messages)

    async def delete(
        self,
        collection: str,
        ids: Sequence[Id] | None = None,
        *,
        filter: FilterLike | None = None,
        version: int | None = None,
        wait: bool = False,
    ) -> Receipt:
        """Deletes by ids or by filter (Qdrant's REST grammar); an empty filter is refused. Raises as `upsert` does.

        version: deletes only those of the ids that are stored without a version or with a lower one.
        """
        return await self._selected(Operation.DELETE, Delete, collection, ids, filter, {"version": version}, wait)

    async def set_payload(
        self,
        collection: str,
        ids: Sequence[Id] | None = None,
        *,
        filter: FilterLike | None = None,
        set: Mapping[str, Any] | None = None,
        overwrite: Mapping[str, Any] | None = None,
        unset: Sequence[str] | None = None,
        wait: bool = False,
    ) -> Receipt:
        """Changes payloads: `overwrite` replaces them, `set` merges keys, `unset` removes keys, in this order.

        Raises as `upsert` does; an empty filter is refused.
        """
        change = {"set": set, "overwrite": overwrite, "unset": unset}
        return await self._selected(Operation.PAYLOAD, SetPayload, collection, ids, filter, change, wait)

    async def query(
        self,
        collection: str,
        vector: Any,
        limit: int = 10,
        *,
        offset: int | None = None,
        score_threshold: float | None = None,
        filter: FilterLike | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vector: bool = False,
        using: str | None = None,
        timeout: float | None = None,
    ) -> QueryAnswer:
        """The nearest points, best first. using: the vector's name, where the collection has named vectors.

        Raises RemoteError, ReplyTimeout, Unroutable, InvalidRequest.
        """
        fields = {
            "vector": vector_text(vector),
            "limit": limit,
            "offset": offset,
            "score_threshold": score_threshold,
            "filter": filter,
            "with_payload": with_payload,
            "with_vector": with_vector,
            "using": using,
        }
        reply = await self._opened.calls.ask(Operation.QUERY, collection, body(Query, fields), timeout)
        return QueryAnswer(read(_SCORED, reply), reply.elapsed_ms)

    async def get(
        self,
        collection: str,
        ids: Sequence[Id],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vector: bool = False,
        timeout: float | None = None,
    ) -> GetAnswer:
        """Points by id, at most 10,000; ids that do not exist are left out. Raises as `query` does."""
        fields = {"ids": wire_ids(ids), "with_payload": with_payload, "with_vector": with_vector}
        reply = await self._opened.calls.ask(Operation.GET, collection, body(Get, fields), timeout)
        return GetAnswer(read(_RECORDS, reply), reply.elapsed_ms)

    async def count(
        self,
        collection: str,
        *,
        filter: FilterLike | None = None,
        timeout: float | None = None,
    ) -> CountAnswer:
        """How many points there are, or how many the filter selects; exact. Raises as `query` does."""
        reply = await self._opened.calls.ask(Operation.COUNT, collection, body(Count, {"filter": filter}), timeout)
        return CountAnswer(read(_COUNTED, reply).count, reply.elapsed_ms)

    @property
    def _opened(self) -> _Open:
        if self._open is None:
            raise MemqError("the producer is not open: use it as `async with Producer(...) as memq:`")
        return self._open

    def _writes(self, wait: bool, progress: Callable[[Receipt], None] | None = None) -> Writes:
        return Writes(
            self._opened.sender,
            self._opened.window,
            confirm_timeout=self._confirm_timeout,
            answer_timeout=self._timeout if wait else None,
            window_bytes=WINDOW_BYTES,
            buffer_timeout=None if wait else self._buffer_timeout,
            progress=progress,
        )

    async def _selected(
        self,
        operation: Operation,
        model: type[Model],
        collection: str,
        ids: Sequence[Id] | None,
        filter: FilterLike | None,
        change: Mapping[str, Any],
        wait: bool,
    ) -> Receipt:
        listed = None if ids is None else wire_ids(ids)

        async def messages() -> AsyncIterator[tuple[range, Outgoing]]:
            if listed is None or filter is not None:
                text = body(model, {"ids": listed, "filter": filter, **change})
                yield range(0), self._opened.calls.outgoing(operation, collection, text)
                return
            for part in batches.chunks(listed, IDS_PER_MESSAGE):
                text = body(model, {"ids": listed[part.start : part.stop], **change})
                yield part, self._opened.calls.outgoing(operation, collection, text)

        receipt = await self._writes(wait).run(messages())
        if listed is None:
            return Receipt(None, receipt.messages, receipt.applied, receipt.elapsed_ms)
        return receipt


class _Open:
    """What exists between entering and leaving."""

    def __init__(self, link: Link, pending: Pending, timeout: float, max_bytes: int, max_in_flight: int) -> None:
        self.link = link
        self.pending = pending
        self.sender = Sender(link, pending)
        self.calls = Calls(self.sender, timeout, max_bytes)
        self.window = Window(max_in_flight, WINDOW_BYTES)
