"""RabbitMQ in a Docker container of our own, for machines that have an engine and no rabbitmq-server."""

from __future__ import annotations

import secrets
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from stack.amqp import NotReady, answers, management_version
from stack.images import RABBITMQ as IMAGE
from stack.ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from stack.machine import Machine

HOST = "127.0.0.1"
USER = "memq"
BOOT_SECONDS = 120.0
PULL_SECONDS = 600.0


class ContainerError(RuntimeError):
    pass


def engine_answers(machine: Machine, docker: Path) -> bool:
    """False when there is only the client, which waits for an engine that will not come."""
    try:
        return machine.run(docker, "info", "--format", "{{.ServerVersion}}", within=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Container:
    """Not started by the constructor. `start()` after `kill()` or `stop()` has the same ports and data."""

    def __init__(self, machine: Machine, docker: Path) -> None:
        self._machine = machine
        self._docker = docker
        self._password = secrets.token_hex(16)
        self._name = f"memq-{secrets.token_hex(6)}"
        # Chosen here and not by Docker, which would choose others when the container starts again.
        self._amqp, self._management, self._prometheus = free_ports(3)
        self._created = False
        self.version: str | None = None

    @property
    def amqp_url(self) -> str:
        return f"amqp://{USER}:{self._password}@{HOST}:{self._amqp}/%2F"

    @property
    def management_url(self) -> str:
        return f"http://{HOST}:{self._management}"

    @property
    def prometheus_url(self) -> str:
        return f"http://{HOST}:{self._prometheus}"

    @property
    def pid(self) -> int:
        return int(self._do("inspect", "--format", "{{.State.Pid}}", self._name))

    @property
    def tools(self) -> dict[str, str]:
        """Empty: `docker exec` runs RabbitMQ's commands in the container."""
        return {}

    def start(self) -> None:
        if self._created:
            self._do("start", self._name)
        else:
            self._create()
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._ready():
            if time.monotonic() > deadline:
                raise ContainerError(
                    f"{IMAGE} was not ready after {BOOT_SECONDS:.0f} s:\n{self._do('logs', self._name)}"
                )
            time.sleep(0.2)

    def kill(self) -> None:
        self._do("kill", self._name)

    def stop(self, grace: float = 20.0) -> None:
        self._do("stop", "--time", f"{grace:.0f}", self._name)

    def control(self, *arguments: str) -> str:
        """Return the output of `rabbitmqctl`. Raises ContainerError with its error text."""
        return self._do("exec", self._name, "rabbitmqctl", *arguments)

    def close(self, grace: float = 0.0) -> None:
        if self._created:
            if grace:
                self.stop(grace)
            self._do("rm", "--force", "--volumes", self._name)
            self._created = False

    def _create(self) -> None:
        self._created = True  # also when `run` fails half-way: `close` removes what there is
        published = ((self._amqp, 5672), (self._management, 15672), (self._prometheus, 15692))
        ports = [arg for outside, inside in published for arg in ("--publish", f"{HOST}:{outside}:{inside}")]
        users = ("--env", f"RABBITMQ_DEFAULT_USER={USER}", "--env", f"RABBITMQ_DEFAULT_PASS={self._password}")
        # A fixed host name: the node's data directory is named after it.
        self._do(
            "run", "--detach", "--name", self._name, "--hostname", "memq", *ports, *users, IMAGE, within=PULL_SECONDS
        )

    def _ready(self) -> bool:
        with suppress(NotReady):
            self.version = management_version(self.management_url, USER, self._password, 5672)
            return answers(HOST, self._amqp)
        return False

    def _do(self, *args: str, within: float = 60.0) -> str:
        done = self._machine.run(self._docker, *args, within=within)
        if done.returncode:
            raise ContainerError(f"docker {args[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()
