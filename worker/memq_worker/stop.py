import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager

from memq_process.signals import handling


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
    """Call `stop` on SIGTERM, SIGINT and SIGHUP; not on SIGHUP where the caller ignores it, as nohup does."""
    with handling(lambda _: stop(), signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        yield stop
