"""Orderly end of commands that run until a signal."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memq_process.signals import handling

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def stopping() -> Generator[asyncio.Event]:
    """Yield an event that the first SIGINT, SIGTERM or SIGHUP sets; a second signal ends the command at once."""
    stop = asyncio.Event()

    def received(_: signal.Signals) -> None:
        remove()
        stop.set()

    with handling(received, signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as remove:
        yield stop
