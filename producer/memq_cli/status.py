from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from memq_amqp import stopped

from memq_cli.output import notice, notices

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from memq_cli.load.record import Record

LOOK_SECONDS = 1.0
LINE_SECONDS = 30.0


@asynccontextmanager
async def status(record: Record, doing: Callable[[], str]) -> AsyncGenerator[None]:
    """One line that changes every second on a terminal; elsewhere a line every half minute."""
    telling = asyncio.create_task(_tell(record, doing))
    try:
        yield
    finally:
        await stopped(telling)


async def _tell(record: Record, doing: Callable[[], str]) -> None:
    every = LOOK_SECONDS if notices.is_terminal else LINE_SECONDS
    began, before, sent = time.monotonic(), time.monotonic(), 0
    with notices.status("", spinner="dots") as line:
        while True:
            await asyncio.sleep(every)
            now, count = time.monotonic(), record.requests.total()
            rate = (count - sent) / (now - before)
            text = f"{now - began:,.0f} s, {doing()}{rate:,.0f} per second, {record.errors.total():,} errors"
            before, sent = now, count
            if notices.is_terminal:
                line.update(text)
            else:
                notice(f"memq: {text}")
