from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def until(predicate: Callable[[], T | Awaitable[T]], within: float = 60.0, every: float = 0.02) -> T:
    """The first truthy value of `predicate`, sync or async. Fails the test with its last value after `within` seconds.

    The one place where a test waits by the clock, and only for what has no event to wait on.
    """
    deadline = time.monotonic() + within
    while True:
        value = predicate()
        found: T = await value if inspect.isawaitable(value) else value  # pyright: ignore[reportAssignmentType]
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {_name(predicate)}, last value {found!r}")
        await asyncio.sleep(every)


def _name(predicate: Callable[[], object]) -> str:
    code = getattr(predicate, "__code__", None)
    where = f" at {code.co_filename}:{code.co_firstlineno}" if code else ""
    return getattr(predicate, "__name__", repr(predicate)) + where
