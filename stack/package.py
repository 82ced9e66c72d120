"""Programs from the distribution's own packages, without the system services that come with them."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stack.machine import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.machine import Machine

MINUTES = 15
LOCKED_SECONDS = 900
RETRY_SECONDS = 2.0
LOCKED = re.compile(r"Could not get lock|Unable to (?:acquire|lock)|is locked by another process", re.IGNORECASE)
POLICY = Path("/usr/sbin/policy-rc.d")


class PackageError(RuntimeError):
    pass


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    what: str
    units: tuple[str, ...]
    """The services that it would start, now and at boot."""

    @property
    def command(self) -> str:
        return f"apt-get update && apt-get install -y --no-install-recommends {self.name}"


RABBITMQ = Package("rabbitmq-server", "RabbitMQ", ("rabbitmq-server.service", "epmd.socket", "epmd.service"))
PROMETHEUS = Package("prometheus", "Prometheus", ("prometheus.service",))
COMMAND = RABBITMQ.command


def install(machine: Machine, apt: Path, package: Package = RABBITMQ) -> None:
    """Install `package` with apt-get, after any other installation that is under way. Raises PackageError."""
    say(f"memq: no {package.what} on this machine, installing it: {package.command}")
    with _one_at_a_time(), services_kept_down():
        for args in (("update",), ("install", "-y", "--no-install-recommends", package.name)):
            _run(machine, apt, *args)
    _keep_down_at_boot(machine, package)


def _run(machine: Machine, apt: Path, *args: str) -> None:
    """Run apt-get, again and again while another process holds one of its locks.

    Its own DPkg::Lock::Timeout is not enough: it does not apply to the lists of packages or the downloaded archives.
    """
    deadline = time.monotonic() + LOCKED_SECONDS
    waiting = False
    while True:
        done = machine.run(apt, *args, within=MINUTES * 60, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
        if not done.returncode:
            return
        output = (done.stdout + done.stderr).strip()
        if not LOCKED.search(output) or time.monotonic() > deadline:
            raise PackageError(f"apt-get {args[0]} failed:\n" + "\n".join(output.splitlines()[-15:]))
        if not waiting:
            say(f"memq: another installation is running on this machine, waiting for it up to {LOCKED_SECONDS} s")
            waiting = True
        time.sleep(RETRY_SECONDS)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait for other scripts of ours: the first to end would remove the policy of the others."""
    # A directory that is there anyway serves as the lock file.
    directory = os.open(POLICY.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("memq: another script of memq is installing packages, waiting for it")
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


@contextmanager
def services_kept_down() -> Iterator[None]:
    """Debian's packages ask this script before they start a service; 101 is "no". An existing one is left alone."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _keep_down_at_boot(machine: Machine, package: Package) -> None:
    systemctl = machine.which("systemctl")
    if systemctl and Path("/run/systemd/system").is_dir():
        for unit in package.units:
            machine.run(systemctl, "disable", "--now", unit, within=60)
