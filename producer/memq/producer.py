from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from memq.aliases import Aliases
from memq.changes import Changes, Id, Row
from memq.collections import Collections
from memq.deliver.calls import require_timeout
from memq.deliver.upserts import Given, deliver_upsert
from memq.errors import MemqError, WrongContext
from memq.indexes import Indexes
from memq.options import Options
from memq.parts import ProducerParts
from memq_schemas import (
    Names,
)
from memq_schemas.topology import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from memq.answers import Receipt
    from memq.connection.link import ConnectionChange
    from memq.connection.transport import Transport
    from memq.dead import DeadLetters
    from memq.encode.arrow import ArrowStream
    from memq.outbox import Outbox
    from memq_schemas.points import Mode
    from memq_schemas.topology import Lane


MIB = 1024 * 1024
TENANT_VARIABLE = "MEMQ_TENANT"


class Producer(Changes):
    """Writes points through RabbitMQ and asks questions about them; `async with Producer(url) as memq:`.

    One connection, any number of calls at once. While the broker is away calls wait, up to their timeouts.

    url: one broker, several (tried in turn), or None for MEMQ_AMQP_URL or amqp://guest:guest@127.0.0.1:5672/%2F.
    tenant: whose collections these are, with a user of this tenant; None for MEMQ_TENANT, or "" for the operator.
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
        tenant: str | None = None,
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
            tenant=os.environ.get(TENANT_VARIABLE, "") if tenant is None else tenant,
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
        self._open: ProducerParts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        parts = ProducerParts(self._options)
        await parts.start()
        self._open, self._loop = parts, asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        parts, self._open = self._parts, None
        await parts.close(flush=error is None)

    @property
    def connected(self) -> bool:
        """Return True while the broker is connected."""
        return self._open is not None and self._open.link.connected

    @property
    def bulk_refused(self) -> str:
        """Why bulk writes use the live lane, or ""."""
        return "" if (session := self._parts.link.current) is None else session.bulk.refused

    @property
    def ignored_replies(self) -> int:
        """Answers that came after their caller had given up, or that nobody had asked for."""
        return self._parts.pending.ignored

    @property
    def outbox(self) -> Outbox | None:
        """State of the outbox and the reason for waiting messages; None without an outbox."""
        return self._parts.outbox

    async def flush(self, timeout: float = 30.0) -> None:
        """Returns when the broker has confirmed all that the outbox holds now.

        Raises Unconfirmed after `timeout`, and MessageTooLarge if messages stay in the outbox that are larger than the
        broker accepts.
        """
        require_timeout(timeout)
        if self._parts.outbox is not None:
            await self._parts.outbox.sent(timeout)

    @property
    def collections(self) -> Collections:
        return Collections(self._parts.calls)

    @property
    def indexes(self) -> Indexes:
        return Indexes(self._parts.calls)

    @property
    def aliases(self) -> Aliases:
        return Aliases(self._parts.calls)

    @property
    def dead(self) -> DeadLetters:
        """Dead letters: list, replay and purge them."""
        return self._parts.dead

    async def upsert(
        self,
        collection: str,
        points: Iterable[Row] | AsyncIterable[Row] | ArrowStream | None = None,
        *,
        ids: Sequence[Id] | Any = None,
        vectors: Any = None,
        payloads: Sequence[Mapping[str, Any] | None] | Any = None,
        versions: Sequence[int | None] | Any = None,
        mode: Mode = "upsert",
        lane: Lane = "live",
        wait: bool = False,
        progress: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Insert points or replace those with the same ids. Return once the broker holds all; with `wait` once applied.

        points: an iterable, or an async one, of dicts {"id", "vector", "payload"?, "version"?}, Points, or tuples
        (id, vector[, payload[, version]]); or a pyarrow table, batch or reader, or a Polars, pandas or DuckDB frame,
        whose other columns become payload keys. It is read as it is sent, never as a whole.
        ids, vectors, payloads, versions: the same as columns; vectors of shape (points, dimensions), any float or
        integer numpy array or a list of lists, or a dict of such columns by name. All but float16 travel as float32.
        A sparse vector is {"indices", "values"} and has a name; a multivector is a matrix or a list of rows.
        mode: "insert_only" leaves stored points alone, "update_only" inserts none; both need Qdrant 1.17 or later.
        lane: "bulk" for a load that must not delay live writes. Between lanes there is no order.
        progress: called after every delivered message with a Receipt of the call so far.
        Payload values are stored exactly or refused: docs/reference/types.md has the table.
        Raises InvalidPoint, Unconfirmed (BufferFull, QuotaExceeded), Unroutable, with `wait` also RemoteError and
        ReplyTimeout. Their `points` say which message failed, `confirmed` what was delivered; messages of one call may
        arrive in any order.
        """
        parts, given = self._parts, Given(points, ids, vectors, payloads, versions, mode=mode)
        return await deliver_upsert(
            parts.write_path(wait) if wait else parts.confirmed,
            collection,
            given,
            self._options,
            progress,
            lane,
        )

    @property
    def _parts(self) -> ProducerParts:
        if self._open is None:
            raise MemqError("the producer is not open: use it in `async with`, or in `with` if it is of memq.blocking")
        if _running_loop() not in (self._loop, None):
            raise WrongContext("the producer was opened in another event loop; open one in the loop that uses it")
        return self._open


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # a thread without a loop may look at properties
        return None
