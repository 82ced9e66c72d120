"""systemd's notify protocol: READY=1 when the worker answers, WATCHDOG=1 while it is alive, STOPPING=1 at its end.

Alive is what /livez says, so that a hung worker of a pool stops the watchdog and systemd restarts the pool. Without a
metrics port the process itself counts as alive.
"""

import os
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

from memq_worker.observe.healthcheck import ask
from memq_worker.settings import Settings

_SOCKET, _WATCHDOG = "NOTIFY_SOCKET", "WATCHDOG_USEC"
_ASK_SECONDS = 0.5


@contextmanager
def notified(settings: Settings) -> Generator[None]:
    """Notify systemd for as long as the block runs; do nothing where the environment names no socket."""
    # Taken out, so that the processes of the pool do not notify as well.
    place = os.environ.pop(_SOCKET, "")
    watchdog = int(os.environ.pop(_WATCHDOG, "0")) / 1e6
    if not place:
        yield
        return
    over = threading.Event()
    threading.Thread(target=_notify, args=(settings, place, watchdog, over), name="memq-notify", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        _send(place, b"STOPPING=1")


def _notify(settings: Settings, place: str, watchdog: float, over: threading.Event) -> None:
    while not _alive(settings):
        if over.wait(_ASK_SECONDS):
            return
    _send(place, b"READY=1")
    # Three times per interval: one late answer is not a hang.
    while watchdog and not over.wait(watchdog / 3):
        if _alive(settings):
            _send(place, b"WATCHDOG=1")


def _alive(settings: Settings) -> bool:
    return not settings.metrics_port or ask(settings.metrics_host, settings.metrics_port, "/livez")[0]


def _send(place: str, message: bytes) -> None:
    # A name that begins with @ is in Linux's abstract namespace.
    address = "\0" + place[1:] if place.startswith("@") else place
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(message, address)
        except OSError:
            return  # systemd has gone or does not listen; it is no reason to end
