"""Programs from the distribution's own packages, without the system services that come with them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stack.machine import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.machine import Machine

MINUTES = 15
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
    say(f"memq: no {package.what} on this machine, installing it: {package.command}")
    # Another apt-get may be at work on a machine that has just booted.
    wait = "DPkg::Lock::Timeout=300"
    with services_kept_down():
        for args in (("update",), ("install", "-y", "--no-install-recommends", package.name)):
            done = machine.run(apt, "-o", wait, *args, within=MINUTES * 60, DEBIAN_FRONTEND="noninteractive")
            if done.returncode:
                said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
                raise PackageError(f"apt-get {args[0]} failed:\n{said}")
    _keep_down_at_boot(machine, package)


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
