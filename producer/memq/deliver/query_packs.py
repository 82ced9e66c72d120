"""Queries of one turn of the event loop, in one message."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from memq.connection.replies import Reply, broken_reply, decoded_reply
from memq.deliver.calls import require_timeout
from memq.errors import RemoteError, Unroutable
from memq_schemas import ErrorCode, Operation

if TYPE_CHECKING:
    from memq.deliver.calls import Calls
    from memq.deliver.sender import Sender

PACKED_LIMIT = 100
"""A query for more hits goes alone: its reply is large, and others would wait for it."""

_MOST = 8  # queries: with more, packs would wait for each other; with fewer, messages would cost more than searches
_MOST_BYTES = 256 * 1024
_PAUSE_SECONDS = 60.0
_CLIENT_ERRORS = range(400, 500)
_THROTTLED = 429


# The body of a query, and its reply; None if the query has to be asked alone.
_Asked: TypeAlias = "tuple[bytes, asyncio.Future[Reply | None]]"


@dataclass(slots=True, eq=False)
class _Pack:
    queries: list[_Asked] = field(default_factory=list["_Asked"])
    size: int = 0


class QueryPacks:
    """Asks queries that are made in the same turn of the event loop as one `queries` message.

    A message, its confirm and its reply cost as much for one query as for eight. Each query has an answer or an error
    of its own. A query goes alone if no other is made in its turn, if it belongs to a trace, and for a minute after
    the workers did not understand a pack or refused it as a whole.
    """

    def __init__(self, calls: Calls, sender: Sender, timeout: float, *, packs: bool) -> None:
        """timeout: seconds for a query without a timeout of its own.   packs: False to send each query alone."""
        self._calls = calls
        self._sender = sender
        self._timeout = timeout
        self._not_before = 0.0 if packs else float("inf")
        self._gathering: dict[tuple[str, float], _Pack] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, collection: str, body: bytes, timeout: float | None, *, small: bool) -> Reply:
        """Return the reply to a query. Raises as `Calls.ask` does.

        small: whether the query may share a message.
        """
        seconds = self._timeout if timeout is None else timeout
        named = isinstance(cast("object", collection), str)  # for anything else `ask` has an error
        if not (small and named) or time.monotonic() < self._not_before or self._sender.traced:
            return await self._calls.ask(Operation.QUERY, collection, body, timeout)
        require_timeout(seconds)
        started = time.monotonic()
        reply = await self._join(collection, body, seconds)
        if reply is None:
            left = max(seconds - (time.monotonic() - started), 0.001)
            return await self._calls.ask(Operation.QUERY, collection, body, left)
        return reply

    def _join(self, collection: str, body: bytes, seconds: float) -> asyncio.Future[Reply | None]:
        """Add a query to the pack of this turn."""
        loop, key = asyncio.get_running_loop(), (collection, seconds)
        pack = self._gathering.get(key)
        if pack is None or len(pack.queries) >= _MOST or pack.size + len(body) > _MOST_BYTES:
            pack = self._gathering[key] = _Pack()
            loop.call_soon(self._close_pack, key, pack)
        answer: asyncio.Future[Reply | None] = loop.create_future()
        pack.queries.append((body, answer))
        pack.size += len(body)
        return answer

    def _close_pack(self, key: tuple[str, float], pack: _Pack) -> None:
        if self._gathering.get(key) is pack:
            del self._gathering[key]
        wanted = [(body, answer) for body, answer in pack.queries if not answer.done()]
        if len(wanted) < 2:
            _alone(wanted)
            return
        task = asyncio.create_task(self._send(*key, wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, collection: str, seconds: float, wanted: list[_Asked]) -> None:
        text = b'{"queries":[' + b",".join(body for body, _ in wanted) + b"]}"
        try:
            reply = await self._calls.ask(Operation.QUERIES, collection, text, seconds)
        except Unroutable:
            self._pause()  # the workers are older than this operation
            _alone(wanted)
        except RemoteError as error:
            if error.status in _CLIENT_ERRORS and error.status != _THROTTLED:
                self._pause()
                _alone(wanted)
            else:
                _fail(wanted, error)
        except Exception as error:  # noqa: BLE001  (handed to those who asked)
            _fail(wanted, error)
        else:
            _distribute(wanted, reply)

    def _pause(self) -> None:
        self._not_before = max(self._not_before, time.monotonic() + _PAUSE_SECONDS)

    async def ended(self) -> None:
        """Wait until every pack has ended, as each does once the producer's connection is closed."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def _alone(wanted: list[_Asked]) -> None:
    for _, answer in wanted:
        if not answer.done():
            answer.set_result(None)


def _fail(wanted: list[_Asked], error: Exception) -> None:
    for _, answer in wanted:
        if not answer.done():
            answer.set_exception(error)


def _distribute(wanted: list[_Asked], reply: Reply) -> None:
    """Give each query its own part of the reply."""
    result: Any = reply.result
    if not isinstance(result, list) or len(cast("list[Any]", result)) != len(wanted):
        _fail(wanted, broken_reply())
        return
    for (_, answer), part in zip(wanted, cast("list[Any]", result), strict=True):
        if answer.done():
            continue
        try:
            answer.set_result(decoded_reply({**part, "elapsed_ms": reply.elapsed_ms}))
        except TypeError:
            answer.set_exception(broken_reply())
        except RemoteError as error:
            # Alone it has the room of a whole reply.
            if error.code == ErrorCode.TOO_LARGE:
                answer.set_result(None)
            else:
                answer.set_exception(error)
