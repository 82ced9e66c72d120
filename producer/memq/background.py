"""One event loop in a thread of its own, in which all blocking producers of a process live."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from memq.encode.arrow import is_arrow
from memq.errors import WrongContext

T = TypeVar("T")

# Rows that a caller's thread hands over at once: few enough to stay ahead of, enough to spread the cost of a hand-over.
_ROWS = 100
_PENDING = 4


class _Loop:
    """An event loop that runs until the process ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="memq-blocking", daemon=True)
        self._thread.start()

    @property
    def current(self) -> bool:
        """Return True if this is the loop's own thread."""
        return threading.get_ident() == self._thread.ident


class _Shared:
    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """A forked child has neither the thread nor, maybe, the lock in a state that it can use."""
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def loop(self) -> _Loop:
        with self._lock:
            if self._loop is None:
                self._loop = _Loop()
            return self._loop


_shared = _Shared()


class Background:
    """One producer's way to the shared loop, from any thread of the process that has made it.

    Raises WrongContext in a forked child, and in callbacks, which run in the loop and would wait for themselves.
    """

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def inherited(self) -> bool:
        """Return True in a child that was forked after the producer was made."""
        return self._process != os.getpid()

    def run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine. Interrupted, it cancels the coroutine."""
        loop = self._usable().loop
        return self._result(asyncio.run_coroutine_threadsafe(_awaited(call), loop))

    def read(self, value: Callable[[], T]) -> T:
        """A value that is read in the loop."""

        async def reading() -> T:
            return value()

        return self.run(reading)

    def feed(self, points: Any, call: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine that reads `points`; an iterator is read in the thread of the caller."""
        if not isinstance(points, Iterable) or isinstance(points, (Sequence, Mapping, AsyncIterable)):
            return self.run(lambda: call(points))
        if is_arrow(points):  # pyright: ignore[reportUnknownArgumentType]
            return self.run(lambda: call(points))  # pyright: ignore[reportUnknownLambdaType]
        loop = self._usable().loop
        rows: asyncio.Queue[list[Any] | None] = asyncio.Queue(_PENDING)
        future = asyncio.run_coroutine_threadsafe(_awaited(lambda: call(_fed(rows))), loop)
        try:
            given = iter(points)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            while not future.done():
                chunk: list[Any] = list(itertools.islice(given, _ROWS))  # pyright: ignore[reportUnknownArgumentType]
                self._put(chunk or None, rows, future, loop)
                if not chunk:
                    break
        except BaseException:
            future.cancel()
            raise
        return self._result(future)

    def _put(self, chunk: list[Any] | None, rows: asyncio.Queue[list[Any] | None], reader: Any, loop: Any) -> None:
        """Wait until there is room, or nobody to read it."""
        putting = asyncio.run_coroutine_threadsafe(rows.put(chunk), loop)
        reader.add_done_callback(lambda _: putting.cancel())  # pyright: ignore[reportUnknownLambdaType]
        try:
            putting.result()
        except CancelledError:
            if not reader.done():
                raise

    def _usable(self) -> _Loop:
        if self.inherited:
            raise WrongContext("the producer was opened before a fork; open one in the process that uses it")
        found = _shared.loop()
        if found.current:
            raise WrongContext("a callback of a blocking producer cannot call it: it would wait for itself")
        return found

    def _result(self, future: Any) -> Any:
        try:
            return future.result()
        except BaseException:
            # An interrupt of this thread; a future that has failed by itself is done.
            future.cancel()
            raise


async def _awaited(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await call()


async def _fed(rows: asyncio.Queue[list[Any] | None]) -> AsyncIterator[Any]:
    while (chunk := await rows.get()) is not None:
        for row in chunk:
            yield row
