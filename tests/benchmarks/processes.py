"""CPU and memory of processes with all their children, out of /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    ticks: int
    """User and system time, of children that have ended too."""


def _stat(pid: str) -> _Stat | None:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return _Stat(int(fields[1]), sum(map(int, fields[11:15])))
    return None


def cpu_seconds(pid: int) -> float:
    """Of the process and everything it has started and that is, or was, its child."""
    stats = {int(entry): stat for entry in os.listdir("/proc") if entry.isdigit() and (stat := _stat(entry))}
    family, grown = {pid}, True
    while grown:
        more = {child for child, stat in stats.items() if stat.parent in family} - family
        family |= more
        grown = bool(more)
    return sum(stats[member].ticks for member in family if member in stats) / _TICKS


def peak_rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
