"""STOMP, MQTT and AMQP 1.0 through RabbitMQ's plugins, as the wire page describes them."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aio_pika
import pytest

from memq import Producer, ReplyTimeout
from stack.amqp import management
from stack.node import Node
from stack.ports import free_ports
from tests.support.amqp10 import Connection, Unsigned
from tests.support.broker import Address
from tests.support.until import until
from tests.support.worker import WorkerProcess, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SECONDS = 30.0
POINT = {"id": 1, "vector": [1.0, 0.0], "payload": {"lang": "en"}}


class Stomp:
    def __init__(self, server: Node, port: int) -> None:
        parts = urlsplit(server.amqp_url)
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._file = self._socket.makefile("rb")
        login = {"login": unquote(parts.username or ""), "passcode": unquote(parts.password or "")}
        self.send("CONNECT", {"accept-version": "1.2", "host": "/", **login})
        assert self.receive()[0] == "CONNECTED"

    def send(self, command: str, headers: dict[str, str], body: str = "") -> None:
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        self._socket.sendall(f"{command}\n{lines}\n{body}\0".encode())

    def receive(self) -> tuple[str, dict[str, str], str]:
        read = bytearray()
        while (byte := self._file.read(1)) != b"\0":
            assert byte, "the broker closed the connection"
            read += byte
        head, _, body = read.decode().lstrip("\n").partition("\n\n")
        command, *lines = head.splitlines()
        return command, dict(line.split(":", 1) for line in lines), body

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    stomp, mqtt = free_ports(2)
    return stomp, mqtt


@pytest.fixture(scope="module")
def node(server: Server, ports: tuple[int, int]) -> Node:
    if not isinstance(server, Node):
        pytest.skip("plugins are enabled only in a private node of rabbitmq-server")
    server.stop()
    server.plugins += ["rabbitmq_stomp", "rabbitmq_mqtt", "rabbitmq_amqp1_0"]
    server.conf = "stomp.listeners.tcp.1 = 127.0.0.1:{}\nmqtt.listeners.tcp.1 = 127.0.0.1:{}\n".format(*ports)
    server.start()
    return server


@pytest.fixture(scope="module")
def address(node: Node) -> Address:
    return Address(node.amqp_url, "memq", node.management_url, "/")


@pytest.fixture(scope="module")
def worker(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with running_worker(address, data_dir=tmp_path_factory.mktemp("data")) as process:
        yield process


@pytest.fixture
async def docs(address: Address, worker: WorkerProcess) -> Any:
    _ = worker
    async with Producer(address.url) as producer:
        await producer.collections.create("docs", 2)
        yield producer
        await producer.collections.delete("docs")


async def stored(producer: Producer) -> bool:
    return [point.payload for point in (await producer.get("docs", [1])).points] == [{"lang": "en"}]


async def test_stomp_writes_and_asks(docs: Producer, node: Node, ports: tuple[int, int]) -> None:
    with closing(Stomp(node, ports[0])) as stomp:
        there = {"destination": "/exchange/memq.commands/upsert.docs", "content-type": "application/json"}
        stomp.send("SEND", {**there, "persistent": "true", "receipt": "1"}, json.dumps({"points": [POINT]}))
        assert stomp.receive()[0] == "RECEIPT"
        await until(lambda: stored(docs))
        question = {"destination": "/exchange/memq.commands/count.docs", "content-type": "application/json"}
        stomp.send("SEND", {**question, "reply-to": "/temp-queue/answers", "correlation-id": "7"}, "{}")
        command, headers, body = stomp.receive()
        assert command == "MESSAGE"
        assert headers["correlation-id"] == "7"
        assert json.loads(body)["result"] == {"count": 1}


class Mqtt:
    """MQTT 3.1.1."""

    def __init__(self, server: Node, port: int) -> None:
        parts = urlsplit(server.amqp_url)
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._file = self._socket.makefile("rb")
        login = [unquote(parts.username or ""), unquote(parts.password or "")]
        clean_with_login = b"\xc2"
        self._send(0x10, _text("MQTT") + b"\x04" + clean_with_login + b"\x00\x3c" + b"".join(map(_text, ["t", *login])))
        assert self._receive() == (0x20, b"\x00\x00"), "login refused"

    def publish(self, topic: str, body: bytes) -> None:
        """Returns when the broker has confirmed."""
        at_least_once = 0x32
        self._send(at_least_once, _text(topic) + b"\x00\x01" + body)
        assert self._receive() == (0x40, b"\x00\x01")

    def _send(self, kind: int, content: bytes) -> None:
        length, rest = bytearray(), len(content)
        while rest >= 128:
            length.append(rest % 128 | 128)
            rest //= 128
        self._socket.sendall(bytes([kind, *length, rest]) + content)

    def _receive(self) -> tuple[int, bytes]:
        kind, length = self._file.read(2)
        return kind, self._file.read(length)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


async def test_mqtt_writes_through_a_binding(docs: Producer, node: Node, ports: tuple[int, int]) -> None:
    async with await aio_pika.connect(node.amqp_url) as connection:
        channel = await connection.channel()
        commands = await channel.get_exchange("memq.commands")
        await commands.bind("amq.topic", "upsert.#")
    with closing(Mqtt(node, ports[1])) as mqtt:
        mqtt.publish("upsert/docs", json.dumps({"points": [POINT]}).encode())
        await until(lambda: stored(docs))


REPLIES = "/queue/memq.reply.amqp10"


def destination(node: Node) -> str:
    old = (node.version or "").startswith("3.")
    return "/exchange/memq.commands/upsert.docs" if old else "/exchanges/memq.commands/upsert.docs"


async def test_amqp_1_0_writes_and_is_answered(docs: Producer, node: Node) -> None:
    async with await aio_pika.connect(node.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("memq.reply.amqp10", auto_delete=True)
        with closing(Connection(node.amqp_url, "/")) as client:
            client.publish(destination(node), json.dumps({"points": [POINT]}).encode(), "seven", REPLIES)
            await until(lambda: stored(docs))


async def test_an_integer_correlation_id_stops_consumers_of_rabbitmq_3_10(
    docs: Producer, node: Node, address: Address, worker: WorkerProcess
) -> None:
    """The broker cannot encode it for them. Removed through the HTTP API it costs no other message."""
    with closing(Connection(node.amqp_url, "/")) as client:
        client.publish(destination(node), json.dumps({"points": [POINT]}).encode(), Unsigned(7, 64), REPLIES)
    if not (node.version or "").startswith("3.10."):
        await until(lambda: stored(docs))
        return
    await until(lambda: worker.logged("RabbitMQ unavailable", reason="the broker refused: INTERNAL_ERROR"), within=60)
    await docs.upsert("docs", [(2, [0.0, 1.0])])
    await until(lambda: removed(address), within=60)
    await until(lambda: count(docs), within=60)


async def removed(address: Address) -> bool:
    """Remove the message at the head of memq.write. RabbitMQ's own page of the queue does the same."""
    parts = urlsplit(address.url)
    got: Any = await asyncio.to_thread(
        management,
        "POST",
        f"{address.management_url}/api/queues/%2F/memq.write/get",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        {"count": 1, "ackmode": "ack_requeue_false", "encoding": "base64"},
    )
    return bool(got)


async def count(producer: Producer) -> bool:
    try:
        return (await producer.count("docs")).count == 1
    except ReplyTimeout:
        return False
