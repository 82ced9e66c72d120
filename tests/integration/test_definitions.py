"""rabbitmq/definitions.json on a real broker: it loads, it is what the worker declares, and messages find their way."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pika
import pytest

from memq_schemas import topology
from stack.broker import choose
from stack.machine import Machine
from stack.node import Node

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

    from tests.support.broker import Address

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

ENVIRONMENT = dict(os.environ)  # before a fixture takes out what selects the broker
DEFINITIONS = Path(__file__).resolve().parent.parent.parent / "rabbitmq/definitions.json"


def connected(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


def declare_definitions(channel: BlockingChannel, prefix: str) -> None:
    """Everything in the file, under another prefix. A difference from what is there closes the channel."""
    definitions = json.loads(DEFINITIONS.read_text("utf-8").replace('"memq.', f'"{prefix}.'))
    for exchange in definitions["exchanges"]:
        channel.exchange_declare(exchange["name"], exchange["type"], durable=exchange["durable"])
    for queue in definitions["queues"]:
        channel.queue_declare(queue["name"], durable=queue["durable"], arguments=queue["arguments"])
    for binding in definitions["bindings"]:
        channel.queue_bind(
            binding["destination"], binding["source"], binding["routing_key"], arguments=binding["arguments"]
        )


def test_the_file_and_the_topology_are_the_same_to_a_broker(amqp: Address) -> None:
    layout = topology(amqp.prefix)
    with closing(connected(amqp.url)) as connection:
        channel = connection.channel()
        for exchange in layout.exchanges:
            channel.exchange_declare(exchange.name, exchange.kind, durable=True)
        for queue in layout.queues:
            channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        declare_definitions(channel, amqp.prefix)


def test_a_message_keeps_its_routing_key_through_retry_and_into_the_dead_letters(amqp: Address) -> None:
    write, retry, dead = (f"{amqp.prefix}.{name}" for name in ("write", "retry.1", "dead"))
    with closing(connected(amqp.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        declare_definitions(channel, amqp.prefix)
        channel.basic_publish(retry, "upsert.docs", b"{}", mandatory=True)
        for method, _, body in channel.consume(write, inactivity_timeout=20):
            assert method is not None, "it did not come back from its tier"
            assert (method.routing_key, body) == ("upsert.docs", b"{}")
            channel.basic_reject(method.delivery_tag, requeue=False)
            break
        channel.cancel()
        for method, properties, body in channel.consume(dead, auto_ack=True, inactivity_timeout=20):
            assert method is not None, "it did not arrive among the dead letters"
            assert properties is not None
            assert (method.routing_key, body) == ("upsert.docs", b"{}")
            assert "x-death" in (properties.headers or {})
            break


def users(url: str) -> dict[str, object]:
    """A definitions file with the one user of the URL: a broker that boots with definitions makes no default user."""
    parts = urlsplit(url)
    salt, password = b"salt", (parts.password or "").encode()
    digest = hashlib.sha256(salt + password).digest()
    user = {
        "name": parts.username,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"],
    }
    rights = {"user": parts.username, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    return {"users": [user], "permissions": [rights]}


def test_a_broker_boots_with_the_file_beside_one_with_its_users(tmp_path: Path) -> None:
    make, how = choose(Machine(environ=ENVIRONMENT))
    node = make(tmp_path / "node")
    if not isinstance(node, Node):
        pytest.skip(f"only a node on this machine can read the file, and this is {how}")
    loaded = node.directory / "definitions"
    loaded.mkdir()
    (loaded / "memq.json").write_bytes(DEFINITIONS.read_bytes())
    (loaded / "users.json").write_text(json.dumps(users(node.amqp_url)))
    node.conf = f"load_definitions = {loaded}\n"
    try:
        node.start()
        with closing(connected(node.amqp_url)) as connection:
            channel = connection.channel()
            for queue in topology().queues:
                channel.queue_declare(queue.name, passive=True)
            declare_definitions(channel, "memq")
    finally:
        node.close(grace=0.0)
