"""Single keys of a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_READ = 64


@contextmanager
def quit_key(stop: asyncio.Event) -> Generator[bool]:
    """Set the event when q is pressed. Yield False if standard input is no terminal; no key is read then."""
    if not sys.stdin.isatty():
        yield False
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        pressed = os.read(descriptor, _READ)
        if not pressed:
            loop.remove_reader(descriptor)
        if b"q" in pressed.lower():
            stop.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield True
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
