import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager


class Stop:
    """`soft`: take nothing new, finish what is in flight. `hard`: stop now."""

    def __init__(self) -> None:
        self.soft = asyncio.Event()
        self.hard = asyncio.Event()

    def __call__(self) -> None:
        """The first call is the soft stop, a second one the hard."""
        if self.soft.is_set():
            self.hard.set()
        self.soft.set()


@contextmanager
def on_signals(stop: Stop) -> Generator[Stop]:
    """SIGTERM and SIGINT call `stop`; the loop's handlers are removed at the end."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
