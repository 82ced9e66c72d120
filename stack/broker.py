"""Find a RabbitMQ broker, or start one.

In this order: MEMQ_AMQP_URL, a chroot named by MEMQ_BROKER_ROOT, rabbitmq-server, Docker, apt-get.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memq_amqp import AddressError
from memq_amqp.address import parse

from stack import chroot, package
from stack.amqp import answers
from stack.container import Container, ContainerError, engine_answers
from stack.images import RABBITMQ as IMAGE
from stack.machine import Machine, say
from stack.node import Node, NodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

# Message TTL in quorum queues and at-least-once dead lettering came with 3.10; without them messages can be lost.
OLDEST = (3, 10)
GRACE_SECONDS = 20.0


class NoBroker(RuntimeError):
    """No broker is to be had; the message says what was tried and which command would help."""


@dataclass(frozen=True, slots=True)
class Broker:
    amqp_url: str
    management_url: str | None
    prometheus_url: str | None
    version: str | None
    how: str
    tools: Mapping[str, str] = field(default_factory=dict)
    """Variables for RabbitMQ's own commands, `PATH` among them; none unless the node runs on this machine."""


class Server(Protocol):
    """A broker of our own, for tests that break it. The user and password of `amqp_url` also open `management_url`.

    Before `kill()` give new queues four seconds: RabbitMQ 3.10 comes back without a queue younger than that.
    """

    @property
    def pid(self) -> int: ...
    @property
    def version(self) -> str | None: ...
    @property
    def amqp_url(self) -> str: ...
    @property
    def management_url(self) -> str: ...
    @property
    def prometheus_url(self) -> str: ...
    @property
    def tools(self) -> Mapping[str, str]: ...
    def start(self) -> None: ...
    def control(self, *arguments: str) -> str: ...
    def kill(self) -> None: ...
    def stop(self, grace: float = ...) -> None: ...
    def close(self, grace: float = ...) -> None: ...


@asynccontextmanager
async def broker(keep: bool = False, directory: Path | None = None) -> AsyncIterator[Broker]:
    """A broker for as long as the block runs; see `found` for the arguments."""
    with ExitStack() as stack:
        opening = asyncio.ensure_future(asyncio.to_thread(stack.enter_context, found(keep=keep, directory=directory)))
        try:
            yield await asyncio.shield(opening)
        finally:
            # Cancelled half-way through the boot, the thread still has to finish before there is something to close.
            await asyncio.wait([opening])
            await asyncio.to_thread(stack.close)


@contextmanager
def found(machine: Machine | None = None, *, keep: bool = False, directory: Path | None = None) -> Iterator[Broker]:
    """The broker of MEMQ_AMQP_URL, else one of our own, ended with the block. Raises NoBroker.

    `directory` holds the data of a private node from one run to the next. Without it they go to a temporary
    directory, removed at the end unless `keep`.
    """
    machine = machine or Machine()
    if url := machine.environ.get("MEMQ_AMQP_URL"):
        yield given(machine, url)
        return
    with private(machine, keep=keep, directory=directory) as (server, how):
        yield Broker(server.amqp_url, server.management_url, server.prometheus_url, server.version, how)


def given(machine: Machine, url: str) -> Broker:
    """The broker of MEMQ_AMQP_URL, the first if there are several. Raises NoBroker if none answers there."""
    try:
        first = parse(url)[0]
    except AddressError as error:
        raise NoBroker(f"MEMQ_AMQP_URL: {error}") from None
    if first.tls is None and not answers(first.host, first.port):
        raise NoBroker(f"MEMQ_AMQP_URL is set, but no AMQP broker answers at {first.place}")
    management = machine.environ.get("MEMQ_MANAGEMENT_URL")
    return Broker(url, management.rstrip("/") if management else None, None, None, f"MEMQ_AMQP_URL ({first.place})")


@contextmanager
def private(
    machine: Machine | None = None, *, keep: bool = False, directory: Path | None = None
) -> Iterator[tuple[Server, str]]:
    """A started broker of our own and how it came about; MEMQ_AMQP_URL is not looked at. Raises NoBroker."""
    make, how = choose(machine or Machine())
    with ExitStack() as stack:
        home = directory or Path(tempfile.mkdtemp(prefix="memq-broker-"))
        if directory is None and not keep:
            stack.callback(shutil.rmtree, home, ignore_errors=True)
        try:
            server = make(home)
            # Nothing in a directory about to be removed is worth the six seconds that an orderly stop takes.
            stack.callback(server.close, GRACE_SECONDS if directory or keep else 0.0)
            server.start()
        except (NodeError, ContainerError) as error:
            raise NoBroker(f"{how} did not start: {error}") from error
        yield server, how


def choose(machine: Machine) -> tuple[Callable[[Path], Server], str]:
    """The first way to a broker that works here, and its name."""
    tried: list[str] = []
    if root := machine.environ.get("MEMQ_BROKER_ROOT"):
        return _in_chroot(Path(root).resolve())
    if local := _local(machine, tried):
        return local
    if docker := machine.which("docker"):
        if engine_answers(machine, docker):
            say(f"memq: no usable rabbitmq-server on this machine, using Docker with {IMAGE}")
            return lambda _: Container(machine, docker), f"Docker, {IMAGE}"
        tried.append("docker is here, but no engine answers it")
    apt = machine.which("apt-get")
    # An installed but unusable server would come out of the package manager as it went in.
    if apt and machine.root and not _servers(machine):
        try:
            package.install(machine, apt)
        except package.PackageError as error:
            raise NoBroker(f"no RabbitMQ: {'; '.join((*tried, str(error)))}") from error
        if local := _local(machine, tried):
            return local
    raise NoBroker(_advice(tried, apt))


def _in_chroot(root: Path) -> tuple[Callable[[Path], Server], str]:
    if (reason := chroot.problem(root)) is not None:
        raise NoBroker(f"MEMQ_BROKER_ROOT: {reason}")
    return partial(Node, chroot.SERVER, root=root), f"private node of {root}"


def _local(machine: Machine, tried: list[str]) -> tuple[Callable[[Path], Server], str] | None:
    for server in _servers(machine):
        version = _version(server)
        if version is None or version >= OLDEST:
            return partial(Node, server), f"private node of {server}"
        shown = ".".join(map(str, version))
        tried.append(f"{server} is RabbitMQ {shown}, memq needs {OLDEST[0]}.{OLDEST[1]} or newer")
    if not _servers(machine):
        tried.append("rabbitmq-server is not installed")
    return None


def _servers(machine: Machine) -> list[Path]:
    found = [server for server in machine.servers if server.exists()]
    on_path = machine.which("rabbitmq-server")
    return found or ([on_path.resolve()] if on_path else [])


def _version(server: Path) -> tuple[int, int] | None:
    """Read off the installation directory's name, as asking the server would take seconds; None when it has none."""
    if match := re.search(r"rabbitmq(?:_server)?-(\d+)\.(\d+)", str(server.resolve())):
        return int(match[1]), int(match[2])
    return None


def _advice(tried: list[str], apt: Path | None) -> str:
    ways = [f"    sudo sh -c '{package.COMMAND}'"] if apt else []
    ways.append("    export MEMQ_AMQP_URL=amqp://user:password@host:5672/%2F")
    return f"no RabbitMQ: {'; '.join(tried)}. Run one of\n" + "\n".join(ways)
