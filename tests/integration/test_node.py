from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aio_pika
import psutil
import pytest

from stack import ports
from stack.machine import Machine
from stack.node import Node, NodeError
from stack.ports import free_ports
from stack.process import Process
from tests.support.broker import Address, take
from tests.support.processes import listeners, naming
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pamqp.common import Arguments

    from stack.broker import Broker, Server

pytestmark = pytest.mark.integration

QUORUM: Arguments = {"x-queue-type": "quorum"}


# RabbitMQ writes down what it knows of a new queue up to three seconds late (Erlang's DETS). A node killed before that
# comes back with a quorum queue that never has a leader, or with no queue at all: seen on 3.10.8.
SETTLED_SECONDS = 4.0


async def declare(url: str, queue: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments=QUORUM)


async def publish(url: str, queue: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue)


def address(server: Server) -> Address:
    return Address(server.amqp_url, "memq", server.management_url, "/")


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


async def test_a_durable_message_outlives_a_killed_broker(server: Server) -> None:
    await declare(server.amqp_url, "kept")
    await asyncio.sleep(SETTLED_SECONDS)
    await publish(server.amqp_url, "kept", b"still here")
    before = server.pid

    server.kill()
    await until(lambda: refused(port_of(server.amqp_url)), within=30)
    server.start()

    assert server.pid != before
    assert [message.body for message in await take(address(server), "kept")] == [b"still here"]


def test_everything_listens_on_loopback_only(server: Server) -> None:
    if not isinstance(server, Node):
        pytest.fail("the container's ports are published by Docker, run this where rabbitmq-server is installed")
    listening = listeners(naming(str(server.directory)).values())
    assert {port for _, port in listening} == {
        server.ports.amqp,
        server.ports.management,
        server.ports.prometheus,
        server.ports.distribution,
        server.ports.epmd,
    }
    assert {host for host, _ in listening} <= {"127.0.0.1", "::1"}


async def test_nothing_is_left_after_close(server_program: Path, tmp_path: Path) -> None:
    node = Node(server_program, tmp_path / "node")
    try:
        node.start()
        assert {"beam.smp", "epmd"} <= family(node.directory)
    finally:
        node.close()
    await until(lambda: not family(node.directory), within=5)


async def test_nothing_is_left_when_the_owner_is_killed(owner: Callable[[Path], Process], tmp_path: Path) -> None:
    directory = tmp_path / "node"
    process = owner(directory)
    await until(lambda: "up" in process.log.read_text(), within=60)
    assert {"beam.smp", "epmd"} <= family(directory)
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: not family(directory), within=10)


@pytest.fixture
def owner(server_program: Path, tmp_path: Path) -> Iterator[Callable[[Path], Process]]:
    """A Python of its own that starts a node and then sits there."""
    code = (
        "import sys, time; from pathlib import Path; from stack.node import Node;"
        "node = Node(Path(sys.argv[1]), Path(sys.argv[2])); node.start(); print('up', flush=True); time.sleep(100)"
    )
    with ExitStack() as stack:

        def start(directory: Path) -> Process:
            args = [sys.executable, "-c", code, str(server_program), str(directory)]
            process = Process(args, log=tmp_path / "owner.log")
            stack.callback(process.kill)
            return process

        yield start


def test_a_directory_serves_one_run_at_a_time(server_program: Path, tmp_path: Path) -> None:
    first = Node(server_program, tmp_path)
    with pytest.raises(NodeError, match="in use by another run"):
        Node(server_program, tmp_path)
    first.close()
    Node(server_program, tmp_path).close()


def test_a_port_taken_in_between_is_chosen_again(
    server_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        choices = iter([[port, *free_ports(4)], free_ports(5)])
        monkeypatch.setattr("stack.node.free_ports", lambda _: next(choices))
        node = Node(server_program, tmp_path)
        try:
            node.start()
            assert node.ports.amqp != port
        finally:
            node.close(grace=0.0)


def test_ports_are_different_and_outside_the_range_of_outgoing_ones() -> None:
    chosen = free_ports(50)
    assert len(set(chosen)) == 50
    assert max(chosen) < 32_768


def test_a_port_that_is_not_bound_yet_is_not_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "RANGE", range(20_000, 20_000 + 20 * ports.SHARES))
    monkeypatch.setattr(ports, "_turns", None)
    for share in range(ports.SHARES - 1):
        ports.choose_among(share)
        chosen = [free_ports(1)[0] for _ in range(10)]
        assert len(set(chosen)) == 10


@pytest.fixture
def server_program(broker: Broker) -> Path:
    _ = broker  # by now RabbitMQ is installed, if it was for this run to install it
    machine = Machine()
    program = next((path for path in machine.servers if path.exists()), None) or machine.which("rabbitmq-server")
    if program is None:
        pytest.fail("this test starts a node of its own and needs rabbitmq-server on the machine")
    return program


async def test_a_stopped_process_takes_its_children_with_it(tmp_path: Path) -> None:
    stubborn = ["/bin/sh", "-c", "trap '' TERM; sleep 300 & echo up; sleep 300"]
    process = Process(stubborn, log=tmp_path / "log", environ={"PATH": os.defpath, "HOME": str(tmp_path)})
    await until(lambda: process.tail() == "up")
    assert family(tmp_path) == {"sh", "sleep"}
    process.stop(grace=0.2)
    assert not process.running
    assert not family(tmp_path)
    process.stop()


def port_of(url: str) -> int:
    return urlsplit(url).port or 5672


def family(directory: Path) -> set[str]:
    """Names of the processes with `directory` in their arguments or environment."""
    found: set[str] = set()
    for process in naming(str(directory)).values():
        with suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found
