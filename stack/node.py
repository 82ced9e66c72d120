"""A private RabbitMQ node: its own name, cookie, data, ports and epmd, everything on 127.0.0.1."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stack import chroot
from stack.amqp import NotReady, answers, management_version
from stack.ports import free_ports
from stack.process import Process

if TYPE_CHECKING:
    from typing import IO

HOST = "127.0.0.1"
USER = "memq"
BOOT_SECONDS = 120.0
TRIES = 4
# What Erlang and epmd say when a parallel run took one of our ports, or our name on an epmd that turned out to be its.
TAKEN = re.compile(
    r"eaddrinuse|address already in use|already a epmd running|port_in_use|already running", re.IGNORECASE
)

CONF = """\
listeners.tcp.default = {host}:{amqp}
management.tcp.ip = {host}
management.tcp.port = {management}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {prometheus}
default_user = {user}
default_pass = {password}
log.console = false
log.file = rabbit.log
log.file.level = info
disk_free_limit.absolute = 32MB
"""


class NodeError(RuntimeError):
    """The node did not come up; the message ends with what it printed."""


@dataclass(frozen=True, slots=True)
class Ports:
    amqp: int
    management: int
    prometheus: int
    distribution: int
    epmd: int


class Node:
    """Not started by the constructor. `directory` is the node's for good: the same data come back with `start()`.

    root: a Debian tree to run in, where `server` is looked up; else this machine's.
    """

    def __init__(self, server: Path, directory: Path, root: Path | None = None) -> None:
        self.server = server
        self._root = root
        self.directory = directory.resolve()
        self.nodename = f"memq@{HOST}"
        self.ports = Ports(*free_ports(5))
        self.version: str | None = None
        self.conf = ""  # more lines for rabbitmq.conf, read at each start
        self.plugins = ["rabbitmq_management", "rabbitmq_prometheus"]
        self._node: Process | None = None
        self._epmd: Process | None = None
        for name in ("home", "data", "log"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.directory / "lock")
        self._password = _secret(self.directory / "password")
        _secret(self.directory / "home" / ".erlang.cookie")

    @property
    def pid(self) -> int:
        if self._node is None or not self._node.running:
            raise NodeError("the node is not running")
        return self._node.pid

    @property
    def amqp_url(self) -> str:
        return f"amqp://{USER}:{self._password}@{HOST}:{self.ports.amqp}/%2F"

    @property
    def management_url(self) -> str:
        return f"http://{HOST}:{self.ports.management}"

    @property
    def prometheus_url(self) -> str:
        return f"http://{HOST}:{self.ports.prometheus}"

    @property
    def tools(self) -> dict[str, str]:
        """Variables with which `rabbitmqctl` and its neighbours reach this node. One is the node's secret."""
        if self._root:
            return {}
        return {
            # Debian's commands of this name change the user, who cannot read the cookie.
            "PATH": str(self.server.parent),
            "RABBITMQ_NODENAME": self.nodename,
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_ERLANG_COOKIE": (self.directory / "home" / ".erlang.cookie").read_text(),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": str(self.ports.epmd),
        }

    def start(self) -> None:
        """Returns when the node takes AMQP connections. After `kill()` or `stop()` it has the same ports and data."""
        first = self.version is None
        for attempt in range(1, TRIES + 1):
            try:
                self._boot()
            except NodeError as error:
                self.stop(grace=0.0)
                # Clients hold the address of a node that has been up: it comes back there or not at all.
                if not first or attempt == TRIES or not TAKEN.search(str(error)):
                    raise
                self.ports = Ports(*free_ports(5))
            except BaseException:
                self.stop(grace=0.0)
                raise
            else:
                return

    def kill(self) -> None:
        """SIGKILL to the broker's whole process group; epmd lives on, as it does when a real broker dies."""
        if self._node is not None:
            self._node.kill()

    def stop(self, grace: float = 20.0) -> None:
        if self._node is not None:
            self._node.stop(grace)
        if self._epmd is not None:
            self._epmd.stop(grace)

    def close(self, grace: float = 20.0) -> None:
        """Stop, and let another run have the directory."""
        self.stop(grace)
        self._lock.close()

    def control(self, *arguments: str) -> str:
        """Return the output of `rabbitmqctl`, after a few seconds. Raises NodeError with its error text."""
        program = self.server.with_name("rabbitmqctl")
        command = [str(program), "--longnames", "--node", self.nodename, *arguments]
        done = subprocess.run(command, env=self._environ(), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise NodeError(f"rabbitmqctl {arguments[0]} ended with {done.returncode}:\n{done.stderr or done.stdout}")
        return done.stdout

    def _boot(self) -> None:
        values = {"host": HOST, "user": USER, "password": self._password}
        ports = {"amqp": self.ports.amqp, "management": self.ports.management, "prometheus": self.ports.prometheus}
        conf = self.directory / "rabbitmq.conf"
        conf.touch(mode=0o600)
        conf.write_text(CONF.format(**values, **ports) + self.conf)
        (self.directory / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")
        (self.directory / "log" / "console.log").unlink(missing_ok=True)
        if self._epmd is None or not self._epmd.running:
            self._epmd = self._start_epmd()
        console = self.directory / "log" / "console.log"
        self._node = Process(self._command(self.server), log=console, environ=self._environ())
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._ready():
            if not self._node.running:
                raise NodeError(f"RabbitMQ ended while starting:\n{self._node.tail(40)}")
            if not self._epmd.running:
                raise NodeError(f"epmd ended while RabbitMQ was starting:\n{self._epmd.tail()}")
            if time.monotonic() > deadline:
                raise NodeError(f"RabbitMQ was not ready after {BOOT_SECONDS:.0f} s:\n{self._node.tail(40)}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        # Asked with this node's own password: whatever else sits on these ports is not taken for it.
        with suppress(NotReady):
            self.version = management_version(self.management_url, USER, self._password, self.ports.amqp)
            return answers(HOST, self.ports.amqp)
        return False

    def _start_epmd(self) -> Process:
        log = self.directory / "log" / "epmd.log"
        log.unlink(missing_ok=True)
        # Left to itself the node starts a daemon that nobody owns; as our child it has a pid and an end.
        return Process(
            self._command(
                chroot.EPMD if self._root else epmd_program(), "-d", "-port", str(self.ports.epmd), "-address", HOST
            ),
            log=log,
            environ={"PATH": os.defpath, "HOME": str(self.directory / "home")},
        )

    def _command(self, program: Path, *args: str) -> list[str]:
        command = [str(program), *args]
        return chroot.entered(self._root, self.directory, command) if self._root else command

    def _environ(self) -> dict[str, str]:
        home = self.directory
        return {
            "PATH": os.pathsep.join(
                (os.environ.get("PATH", ""), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            ),
            "HOME": str(home / "home"),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": HOST,
            # In the environment rather than in the server's arguments: it also reaches the short-lived Erlang that
            # RabbitMQ runs before its own to make sure of epmd.
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_CRASH_DUMP": str(home / "log" / "erl_crash.dump"),
            # An address for a host name: a bare system may have no hosts file to find "localhost" in.
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODENAME": self.nodename,
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }


def epmd_program() -> Path:
    found = shutil.which("epmd") or shutil.which("epmd", path="/usr/bin:/usr/local/bin")
    if found:
        return Path(found)
    erl = shutil.which("erl")
    beside = sorted(Path(erl).resolve().parent.parent.glob("erts-*/bin/epmd")) if erl else []
    if not beside:
        raise NodeError("no epmd on this machine: it comes with Erlang")
    return beside[-1]


def _secret(path: Path) -> str:
    """A secret made once for this directory, readable by its owner only."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as out:
            out.write(secrets.token_hex(16))
    return path.read_text()


def _lock(path: Path) -> IO[str]:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise NodeError(f"{path.parent} is in use by another run") from None
    return lock
