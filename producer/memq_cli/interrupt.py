from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping() -> Generator[asyncio.Event]:
    """Set by the first Ctrl-C or SIGTERM, so that a command can end in order; the second one ends it at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def leave_to_python() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def heard() -> None:
        leave_to_python()
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, heard)
    try:
        yield stop
    finally:
        leave_to_python()
