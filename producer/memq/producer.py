from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Self, TypeAlias, TypedDict
from uuid import UUID

from memq.aliases import Aliases
from memq.collections import Collections
from memq.deliver.calls import require_timeout
from memq.deliver.selected import selected
from memq.deliver.upserts import Given, upserted
from memq.deliver.writes import Writes
from memq.encode.requests import wire_ids
from memq.errors import MemqError, WrongContext
from memq.indexes import Indexes
from memq.opened import Opened
from memq.options import Options
from memq.questions import FilterLike, Questions
from memq_schemas import (
    Delete,
    Names,
    Operation,
    Point,
    SetPayload,
)
from memq_schemas.topology import DEFAULT_PREFIX

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

    from memq.answers import Receipt
    from memq.connection.link import ConnectionChange
    from memq.connection.transport import Transport
    from memq.dead import DeadLetters
    from memq.encode.arrow import ArrowStream
    from memq.outbox import Outbox
    from memq_schemas.model import Model
    from memq_schemas.topology import Lane

Id: TypeAlias = int | str | UUID


class PointRow(TypedDict):
    """A point as a dict.   vector: numbers, an array, base64 of float32, or an object of them for named vectors."""

    id: Id
    vector: Any
    payload: NotRequired[Mapping[str, Any] | None]
    version: NotRequired[int | None]


Row: TypeAlias = PointRow | Point | Sequence[Any]

MIB = 1024 * 1024


class Producer(Questions):
    """Writes points through RabbitMQ and asks questions about them; `async with Producer(url) as memq:`.

    One connection, any number of calls at once. While the broker is away calls wait, up to their timeouts.

    url: one broker, several (tried in turn), or None for MEMQ_AMQP_URL or amqp://guest:guest@127.0.0.1:5672/%2F.
    timeout: seconds for an answer, and for the first connection.   confirm_timeout: seconds for the broker's confirm.
    max_points_per_message, max_message_bytes: where upserts are split; a worker refuses what exceeds its own limits.
    max_in_flight: unconfirmed writes at once (and at most 32 MiB of them); more wait, which slows the caller down.
    buffer_timeout: seconds that a write waits for this room before it raises BufferFull; None for as long as it takes.
    outbox: a file, made if it is missing, in which writes wait for the broker. They return as soon as they are on this
    machine's disk (fsync), and are sent in order, after a crash by the next producer of the file. One producer owns it.
    With `wait=True` a write goes to the broker itself, after all that is in the outbox.
    outbox_bytes: how much it may hold before writes raise OutboxFull.
    transport: fast, or stock, which leaves frames to aiormq at several times the CPU; None for MEMQ_TRANSPORT, or fast.
    arrow: whether columns travel as Arrow messages, as tables do; None where it is cheaper and pyarrow is installed.
    compression: of upserts; it saves bytes and costs CPU. Both need memq[arrow].
    on_connection: called with a ConnectionChange when the connection is lost and when it is back.

    Entering raises ConfigurationError (address, user, vhost), TopologyMissing, or BrokerUnavailable after `timeout`.
    With an outbox the broker may be away, and OutboxError tells what is wrong with the file; leaving waits until it is
    empty, for up to `confirm_timeout` while there is a connection.
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
        outbox: str | PathLike[str] | None = None,
        outbox_bytes: int = 256 * MIB,
        name: str = "memq",
        transport: Transport | None = None,
        arrow: bool | None = None,
        compression: Literal["zstd"] | None = None,
        on_connection: Callable[[ConnectionChange], None] | None = None,
    ) -> None:
        self._options = Options(
            url=url,
            names=Names(prefix),
            timeout=timeout,
            confirm_timeout=confirm_timeout,
            max_message_bytes=max_message_bytes,
            max_points_per_message=max_points_per_message,
            max_in_flight=max_in_flight,
            buffer_timeout=buffer_timeout,
            outbox=None if outbox is None else Path(outbox),
            outbox_bytes=outbox_bytes,
            client=name,
            transport=transport,
            arrow=arrow,
            compression=compression,
            listener=on_connection,
        )
        self._open: Opened | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        opened = Opened(self._options)
        await opened.start()
        self._open, self._loop = opened, asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._open = self._opened, None
        await opened.close(flush=error is None)

    @property
    def connected(self) -> bool:
        """Return True while the broker is connected."""
        return self._open is not None and self._open.link.connected

    @property
    def bulk_refused(self) -> str:
        """Why bulk writes use the live lane, or ""."""
        return "" if (session := self._opened.link.current) is None else session.bulk.refused

    @property
    def ignored_replies(self) -> int:
        """Answers that came after their caller had given up, or that nobody had asked for."""
        return self._opened.pending.ignored

    @property
    def outbox(self) -> Outbox | None:
        """State of the outbox and the reason for waiting messages; None without an outbox."""
        return self._opened.outbox

    async def flush(self, timeout: float = 30.0) -> None:
        """Returns when the broker has confirmed all that the outbox holds now. Raises Unconfirmed after `timeout`."""
        require_timeout(timeout)
        if self._opened.outbox is not None:
            await self._opened.outbox.sent(timeout)

    @property
    def collections(self) -> Collections:
        return Collections(self._opened.calls)

    @property
    def indexes(self) -> Indexes:
        return Indexes(self._opened.calls)

    @property
    def aliases(self) -> Aliases:
        return Aliases(self._opened.calls)

    @property
    def dead(self) -> DeadLetters:
        """Dead letters: list, replay and purge them."""
        return self._opened.dead

    async def upsert(
        self,
        collection: str,
        points: Iterable[Row] | AsyncIterable[Row] | ArrowStream | None = None,
        *,
        ids: Sequence[Id] | Any = None,
        vectors: Any = None,
        payloads: Sequence[Mapping[str, Any] | None] | Any = None,
        versions: Sequence[int | None] | Any = None,
        lane: Lane = "live",
        wait: bool = False,
        progress: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Insert points or replace those with the same ids. Return once the broker holds all; with `wait` once applied.

        points: an iterable, or an async one, of dicts {"id", "vector", "payload"?, "version"?}, Points, or tuples
        (id, vector[, payload[, version]]); or a pyarrow table, batch or reader, or a Polars, pandas or DuckDB frame,
        whose other columns become payload keys. It is read as it is sent, never as a whole.
        ids, vectors, payloads, versions: the same as columns; vectors of shape (points, dimensions), any float or
        integer numpy array or a list of lists. All but float16 travel as float32.
        lane: "bulk" for a load that must not delay live writes. Between lanes there is no order.
        progress: called after every delivered message with a Receipt of the call so far.
        Payload values are stored exactly or refused: docs/reference/types.md has the table.
        Raises InvalidPoint, Unconfirmed, BufferFull, Unroutable, with `wait` also RemoteError and ReplyTimeout. Their
        `points` say which message failed, `confirmed` what was delivered; messages of one call may arrive in any order.
        """
        opened, given = self._opened, Given(points, ids, vectors, payloads, versions)
        return await upserted(opened.way(wait), opened.calls, collection, given, self._options, progress, lane)

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

    @property
    def _opened(self) -> Opened:
        if self._open is None:
            raise MemqError("the producer is not open: use it as `async with Producer(...) as memq:`")
        if _running_loop() not in (self._loop, None):
            raise WrongContext("the producer was opened in another event loop; open one in the loop that uses it")
        return self._open

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
        opened, listed = self._opened, None if ids is None else wire_ids(ids)
        messages = selected(opened.calls, operation, model, collection, listed, filter, change)
        receipt = await Writes(opened.way(wait)).run(messages)
        return replace(receipt, points=None, complete=None) if listed is None else receipt


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # a thread without a loop may look at properties
        return None
