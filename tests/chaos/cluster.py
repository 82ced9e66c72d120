"""Three RabbitMQ nodes on one machine: one epmd, one cookie, quorum queues on all of them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from stack.broker import Broker, choose
from stack.machine import Machine
from stack.node import HOST, Node
from tests.chaos.missing import Missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "memq-chaos-cluster"


class Member(Node):
    """A node with a name of its own that finds the others by their names."""

    def __init__(self, server: Path, directory: Path, number: int, others: tuple[str, ...]) -> None:
        for name in ("password", "home/.erlang.cookie"):
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SECRET)
            path.chmod(0o400)
        super().__init__(server, directory)
        self.nodename = f"memq{number}@{HOST}"
        discovery = "cluster_formation.peer_discovery_backend = classic_config\n"
        names = "".join(f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(others, 1))
        # Seconds instead of a minute: a test waits for this.
        self.conf = discovery + names + "collect_statistics_interval = 1000\ncluster_partition_handling = ignore\n"


class Cluster:
    def __init__(self, server: Path, directory: Path, size: int = 3) -> None:
        names = tuple(f"memq{number}@{HOST}" for number in range(size))
        self.members = [Member(server, directory / name.split("@")[0], n, names) for n, name in enumerate(names)]
        first = self.members[0]
        for member in self.members[1:]:
            member.ports = type(member.ports)(*[*_own(member)[:4], first.ports.epmd])

    @property
    def urls(self) -> list[str]:
        return [member.amqp_url for member in self.members]

    @property
    def broker(self) -> Broker:
        first = self.members[0]
        return Broker(first.amqp_url, first.management_url, None, first.version, "three nodes")

    def start(self) -> None:
        """All at once: the first to come waits for nobody, the others join it."""
        first = self.members[0]
        first.start()
        for member in self.members[1:]:
            member._epmd = first._epmd  # one for all, owned by the first
            member.start()
            # It takes connections before that, and a virtual host made then would not be started on it.
            member.control("await_startup")

    def close(self) -> None:
        for member in reversed(self.members):
            member.kill()
        for member in reversed(self.members):
            member.close(grace=0.0)


def _own(member: Member) -> tuple[int, ...]:
    ports = member.ports
    return (ports.amqp, ports.management, ports.prometheus, ports.distribution, ports.epmd)


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    make, how = choose(Machine())
    if not how.startswith("private node"):
        raise Missing(f"a cluster needs rabbitmq-server on this machine; there is {how}")
    server = make.args[0]  # type: ignore[attr-defined]
    home = directory / "cluster"
    home.mkdir()
    nodes = Cluster(server, home)
    with ExitStack() as stack:
        stack.callback(nodes.close)
        await asyncio.to_thread(nodes.start)
        yield nodes
