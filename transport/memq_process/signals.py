"""Signals that end a command, from its first statement on, also as process 1 of a container."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import FrameType

T = TypeVar("T")

_TERMINATING = (signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """SIGTERM or SIGHUP ended the command.   status: exit status, 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__("terminated")
        self.status = 128 + number


def install() -> None:
    """End the process on SIGTERM, and on SIGHUP unless the caller ignores it, as nohup does.

    The kernel drops signals with the default action for process 1, so the handler exits by itself there.
    """
    for number in not_ignored(*_TERMINATING):
        signal.signal(number, end)


def end(number: int, _: FrameType | None = None) -> None:
    """End the process by the signal's default action, or with the same exit status."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def not_ignored(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return the signals to handle: all but SIGHUP where it is ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in numbers if not (number is signal.SIGHUP and ignored)]


@contextmanager
def handling(handler: Callable[[signal.Signals], object], *numbers: signal.Signals) -> Generator[Callable[[], None]]:
    """Call `handler` in the running event loop on each of the signals; not on SIGHUP where it is ignored.

    Yields a function that removes the handlers early. Afterwards SIGTERM and SIGHUP end the process.
    """
    import asyncio  # here: the signals are handled before it is imported

    loop = asyncio.get_running_loop()
    installed = not_ignored(*numbers)

    def remove() -> None:
        while installed:
            number = installed.pop()
            loop.remove_signal_handler(number)
            if number in _TERMINATING:
                signal.signal(number, end)

    for number in installed:
        loop.add_signal_handler(number, handler, number)
    try:
        yield remove
    finally:
        remove()


async def until_terminated(action: Awaitable[T]) -> T:
    """Await the action. SIGTERM and SIGHUP cancel it, and raise Terminated when it has ended."""
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def cancel(number: int) -> None:
        received.append(number)
        task.cancel()

    with handling(cancel, *_TERMINATING):
        try:
            return await action
        except asyncio.CancelledError:
            if received:
                raise Terminated(received[0]) from None
            raise
