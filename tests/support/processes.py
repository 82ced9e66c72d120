"""Processes, their families, CPU and memory."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def children(pid: int, *, recursive: bool = False) -> list[int]:
    """Pids of the living processes that `pid` has started, and with `recursive` of theirs."""
    with suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(pid).children(recursive=recursive)]
    return []


def alive(pid: int) -> bool:
    """Return True unless the process has ended; one that nobody has reaped has ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process with SIGSTOP: it keeps its ports and connections, and does nothing. Continue it at the end."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def naming(text: str) -> dict[int, psutil.Process]:
    """The processes but this one with `text` in their arguments or environment, by pid."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(text in each for each in (*process.cmdline(), *process.environ().values())):
                found[process.pid] = process
    found.pop(psutil.Process().pid, None)
    return found


def listeners(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses and ports on which these processes listen."""
    connections = (each for process in processes for each in process.net_connections("tcp"))
    return {(str(each.laddr[0]), int(each.laddr[1])) for each in connections if each.status == psutil.CONN_LISTEN}


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of everything that it has started, including what has ended."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        whole = psutil.Process(pid)
        for process in (whole, *whole.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
    return total


def rss_mib(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


def peak_rss_mib(pid: int, *, recursive: bool = False) -> float:
    """The most memory that the process has had, with that of its descendants if `recursive`."""
    # psutil does not read the mark that the kernel keeps.
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        own = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    return own + sum(peak_rss_mib(child) for child in (children(pid, recursive=True) if recursive else ()))
