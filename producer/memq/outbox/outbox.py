"""Takes writes while the broker is away, and sends them, in order, when it is there.

Every write goes through the file, whether the broker is there or not: one way, one order. What is sent leaves the file
when the broker has confirmed it and everything before it; after a failure everything from the failed message on is sent
again, so that the last copies of all messages are in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

from memq_amqp import stopped
from memq_amqp.backoff import jittered

from memq.errors import MemqError, MessageTooLarge, OutboxError, OutboxFull, Unconfirmed
from memq.outbox.store import OVERHEAD_BYTES, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memq.deliver.sender import Outgoing, Sender
    from memq.outbox.store import Stored

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger("memq")

BATCH_MESSAGES = 64
BATCH_BYTES = 8 * 1024 * 1024
PAUSE_SECONDS = 0.1
PAUSE_LIMIT_SECONDS = 2.0


_SLOW = "the broker confirms more slowly than the program publishes"


class Outbox:
    """messages, size: what waits in it, or is about to; size in bytes.   reason: why the oldest could not be sent yet.

    refused: the errors of messages that are larger than the broker accepts. They stay in the file, out of the way of
    the others, and the next producer that opens it tries each of them once more.
    """

    def __init__(self, path: Path, limit: int, confirm_timeout: float) -> None:
        self.messages = 0
        self.size = 0
        self.reason: str | None = None
        self.refused: list[str] = []
        self._path = path
        self._limit = limit
        self._confirm_timeout = confirm_timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memq-outbox")
        self._arriving: list[tuple[Outgoing, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._changed = asyncio.Condition()
        self._stored = 0
        self._sent = 0
        self._aside: set[int] = set()  # of the batch that is being sent
        self._broken: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Raises OutboxError."""
        try:
            self._store = await self._run(Store, self._path)
            content = await self._run(self._store.content)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self.messages, self.size = content.messages, content.size
        self._sent, self._stored = content.sent, content.stored

    def start(self, sender: Sender) -> None:
        # With nothing of the caller's context: what is sent from here belongs to the traces stored with it.
        context = contextvars.Context()
        self._tasks = [
            asyncio.create_task(self._keep_storing(), name="memq-outbox-store", context=context),
            asyncio.create_task(self._keep_sending(sender), name="memq-outbox-send", context=context),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def put(self, outgoing: Outgoing) -> None:
        """Returns when it is stored. Raises OutboxFull at once, and OutboxError when the disk fails."""
        if self._broken is not None:
            raise OutboxError(self._broken)
        size = len(outgoing.body) + OVERHEAD_BYTES
        if self.size + size > self._limit:
            raise OutboxFull(
                f"{outgoing.routing_key}: the outbox {self._path} is full ({self.messages:,} messages, {self.size:,} "
                f"of {self._limit:,} bytes): {self.reason or _SLOW}"
            )
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.messages += 1
        self.size += size
        self._arriving.append((outgoing, stored))
        self._arrived.set()
        await stored

    async def sent(self, timeout: float) -> None:
        """Return when the broker has confirmed all that is stored now, except for the refused messages.

        Raises Unconfirmed after `timeout` seconds, and MessageTooLarge if there are refused messages.
        """
        goal = self._stored
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._sent >= goal or not self.messages)
        except TimeoutError:
            raise Unconfirmed(
                f"{self.messages:,} messages are still in the outbox {self._path} after {timeout:g} s: "
                f"{self.reason or _SLOW}"
            ) from None
        if self.refused:
            raise MessageTooLarge(
                f"{len(self.refused):,} of the messages stay in the outbox {self._path}, larger than the broker "
                f"accepts: {self.refused[0]}"
            )

    async def close(self) -> None:
        """Close the file. Stored messages stay for the next producer that opens it."""
        await stopped(*self._tasks)
        self._failed(self._arriving, OutboxError("the producer is closed"))
        with contextlib.suppress(sqlite3.Error):
            # What has been sent but not yet removed would only be sent twice.
            await self._run(self._store.remove_through, self._sent)
        await self._run(self._store.close)
        self._thread.shutdown()

    async def _run(self, act: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *arguments)

    async def _keep_storing(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            # All that came while the disk was busy goes into one transaction.
            arriving, self._arriving = self._arriving, []
            try:
                last = await self._run(self._store.append, [outgoing for outgoing, _ in arriving])
            except sqlite3.Error as error:
                self._failed(arriving, OutboxError(f"the outbox {self._path} cannot be written: {error}"))
                continue
            except asyncio.CancelledError:
                self._failed(arriving, OutboxError("the producer is closed; these messages may be stored"))
                raise
            self._stored = last
            for _, stored in arriving:
                if not stored.done():
                    stored.set_result(None)
            async with self._changed:
                self._changed.notify_all()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self.reason = self._broken = f"a defect in memq's outbox: {type(error).__name__}: {error}"
        log.error("outbox stopped", exc_info=error)
        self._failed(self._arriving, OutboxError(self._broken))

    def _failed(self, arriving: list[tuple[Outgoing, asyncio.Future[None]]], error: OutboxError) -> None:
        for outgoing, stored in arriving:
            self.messages -= 1
            self.size -= len(outgoing.body) + OVERHEAD_BYTES
            if not stored.done():
                stored.set_exception(error)

    async def _keep_sending(self, sender: Sender) -> None:
        failures = 0
        while True:
            try:
                batch = await self._run(self._store.after, self._sent, BATCH_MESSAGES, BATCH_BYTES)
                if not batch:
                    async with self._changed:
                        await self._changed.wait_for(lambda: self._stored > self._sent)
                    continue
                done, self.reason = await self._send(sender, batch)
                if done:
                    await self._forget(done)
            except sqlite3.Error as error:
                self.reason = f"the outbox {self._path} fails: {error}"
            if self.reason is None:
                failures = 0
                continue
            log.debug("outbox delivery postponed", extra={"reason": self.reason})
            failures += 1
            await asyncio.sleep(jittered(failures, PAUSE_SECONDS, PAUSE_LIMIT_SECONDS))

    async def _send(self, sender: Sender, batch: list[Stored]) -> tuple[list[Stored], str | None]:
        """Return the messages at the front that are confirmed or set aside, and the error of the next one."""
        results = await asyncio.gather(
            *(sender.once(stored.outgoing, self._confirm_timeout) for stored in batch), return_exceptions=True
        )
        for stored, result in zip(batch, results, strict=True):
            # Whatever its place: it closes the channel under the messages beside it, however often it is published.
            if isinstance(result, MessageTooLarge):
                await self._set_aside(stored, result)
        for count, result in enumerate(results):
            if result is None or isinstance(result, MessageTooLarge):
                continue
            if isinstance(result, MemqError):
                return batch[:count], str(result)
            raise result
        return batch, None

    async def _set_aside(self, stored: Stored, error: MessageTooLarge) -> None:
        await self._run(self._store.set_aside, stored.seq)
        self.refused.append(str(error))
        self._count_out(stored)
        self._aside.add(stored.seq)
        log.error("message set aside in the outbox", extra={"reason": str(error), "path": str(self._path)})

    async def _forget(self, done: list[Stored]) -> None:
        self._sent = done[-1].seq
        for stored in done:
            if stored.seq in self._aside:
                self._aside.remove(stored.seq)
            else:
                self._count_out(stored)
        async with self._changed:
            self._changed.notify_all()
        await self._run(self._store.remove_through, self._sent)

    def _count_out(self, stored: Stored) -> None:
        self.messages -= 1
        self.size -= len(stored.outgoing.body) + OVERHEAD_BYTES
