"""A child process that cannot outlive us: own session, stopped by pid, ended by a guard if we die first."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# The guard reads a pipe that only we hold. Our orderly stop writes a word; if the pipe ends without one we were killed,
# and the group is killed too. A parent-death signal would be shorter, but it fires when the starting *thread* ends.
GUARD = 'read -r word && exit 0; kill -KILL "-$1"'


KILLED_SECONDS = 90.0
_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


class Process:
    def __init__(self, args: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                args,
                env=None if environ is None else dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._over = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL to the whole group: what a power cut looks like to everyone else."""
        self.stop(grace=0.0)

    def stop(self, grace: float = 15.0) -> None:
        """SIGTERM, then SIGKILL to what is left of the group after `grace` seconds. Safe to call twice."""
        if self._over:  # the pid is no longer ours to signal
            return
        if grace:
            self._signal(signal.SIGTERM)
        if not (grace and self._wait(within=grace)):
            self._signal(signal.SIGKILL)
            # A killed process ends when the disk has finished what it was asked: its ports stay open until then.
            self._wait(within=KILLED_SECONDS)
        self._over = True
        if self._guard.poll() is None:
            self._guard.communicate(b"over\n")

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _wait(self, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            # Reap the leader first: a zombie keeps its group alive.
            if not self.running and not self._group_alive():
                return True
            time.sleep(0.02)
        return False

    def _group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return not _all_ended(self.pid)


def _all_ended(group: int) -> bool:
    """True when only zombies are left, which process 1 has yet to reap, and in a container may never.

    A process whose first thread has ended is called a zombie while the others, and its open ports, are still there.
    """
    ended: list[bool] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group:
                ended.append(process.status() in _ENDED and process.num_threads() <= 1)
    return bool(ended) and all(ended)
