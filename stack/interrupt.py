"""Ctrl-C, SIGTERM and a closed terminal end a run in order: what it started is stopped before it exits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupt:
    """The first signal cancels the work, or ends `expected()`. Later ones change nothing: the stop is under way."""

    def __init__(self, work: asyncio.Task[int], report: Callable[[str], None]) -> None:
        self.received: int | None = None
        self._work = work
        self._report = report
        self._expected: asyncio.Event | None = None

    def __call__(self, number: int) -> None:
        if self.received is not None:
            self._report("still stopping …")
            return
        self.received = number
        if self._expected is not None:
            self._expected.set()
        else:
            self._work.cancel()
        self._report(f"{signal.Signals(number).name}: stopping …")

    async def expected(self) -> None:
        """Returns at the first signal, which from here on is the regular end of the run."""
        self._expected = asyncio.Event()
        await self._expected.wait()


def run(work: Callable[[Interrupt], Coroutine[object, object, int]], report: Callable[[str], None]) -> int:
    """The exit code of `work`, or 128 + n when signal n, or a closed pipe as if by SIGPIPE, has cut it short."""
    try:
        return asyncio.run(_run(work, report))
    except BrokenPipeError:
        # What is still buffered has no reader either, and would be an error again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


async def _run(work: Callable[[Interrupt], Coroutine[object, object, int]], report: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[Interrupt] = loop.create_future()

    async def worked() -> int:
        return await work(await begun)

    task = asyncio.create_task(worked())
    interrupt = Interrupt(task, report)
    begun.set_result(interrupt)
    # An ignored one stays ignored: that is what `nohup` is for.
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        loop.add_signal_handler(number, interrupt, number)
    try:
        await asyncio.wait({task})
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
    if task.cancelled() and interrupt.received is not None:
        return 128 + interrupt.received
    return task.result()
