"""RabbitMQ as docker-compose.yml starts it: its configuration, the topology, and users with few rights."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aio_pika
import aiormq.exceptions
import pamqp.commands
import pytest
import yaml

from memq import Producer
from memq_schemas import headers, topology
from stack.broker import choose
from stack.machine import Machine
from stack.node import Node
from tests.support.broker import Address, depth
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aio_pika.abc import AbstractChannel

# Also on other versions of RabbitMQ, that of docker-compose.yml among them: see test_broker_versions.py.
pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

ENVIRONMENT = dict(os.environ)  # before a fixture takes out what selects the broker

ROOT = Path(__file__).resolve().parents[2]
# What a test has to choose itself: where it listens, where its files are, and that disks may be small.
PLACES = re.compile(r"load_definitions|.*\.port|log\.|disk_free_limit")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("deployed")
    (home / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "secrets", home / "scripts")
    subprocess.run([home / "scripts" / "secrets"], capture_output=True, check=True)
    return home / "secrets"


@pytest.fixture(scope="module")
def address(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    home = tmp_path_factory.mktemp("node")
    # The node asks its management API with this password whether it is up.
    shutil.copy(secrets / "memq_password", home / "password")
    make, how = choose(Machine(environ=ENVIRONMENT))
    node = make(home)
    if not isinstance(node, Node):
        pytest.skip(f"only a node on this machine can read the files, and this is {how}")
    loaded = home / "definitions"
    loaded.mkdir()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["rabbitmq"]
    mounted = [line.split(":")[:2] for line in compose["volumes"] if "/definitions/" in line]
    for source, target in mounted:
        shutil.copy(ROOT / source, loaded / Path(target).name)
    users = json.loads((secrets / "rabbitmq_users.json").read_text())
    # And to ask it a user needs a tag, which changes nothing about the rights to queues.
    users["users"] = [{**user, "tags": ["monitoring"]} for user in users["users"]]
    (loaded / Path(compose["secrets"][0]["target"]).name).write_text(json.dumps(users))
    lines = (ROOT / "rabbitmq" / "rabbitmq.conf").read_text("utf-8").splitlines()
    kept = [line for line in lines if not PLACES.match(line)]
    assert any(line.startswith("consumer_timeout") for line in kept)
    node.conf = "\n".join([*kept, f"load_definitions = {loaded}", ""])
    try:
        node.start()
        yield Address(node.amqp_url, "memq", node.management_url, "/")
    finally:
        node.close(grace=0.0)


def test_the_secret_and_the_user_agree(secrets: Path, address: Address) -> None:
    assert urlsplit((secrets / "amqp_url").read_text()).password == urlsplit(address.url).password


async def test_a_worker_and_a_producer_need_no_more(address: Address, secrets: Path, tmp_path: Path) -> None:
    """Writes, questions and dead letters, with the topology that was loaded at boot."""
    file = tmp_path / "amqp_url"
    file.write_text(address.url)
    elsewhere = Address("", address.prefix, None, "/")
    settings = {"amqp_url_file": file, "declare": "check", "data_dir": tmp_path / "store"}
    with running_worker(elsewhere, **settings):
        async with Producer(address.url) as producer:
            await producer.collections.create("docs", 2)
            await producer.upsert("docs", [{"id": 1, "vector": [1.0, 0.0]}], wait=True)
            assert [point.id for point in await producer.query("docs", [1.0, 0.0])] == [1]
            await producer.upsert("docs", [{"id": 1, "vector": [1.0]}])
            await until(lambda: dead(address), within=60)


async def dead(address: Address) -> bool:
    return await depth(address, "memq.dead") == 1


async def test_what_nobody_needs_is_refused(address: Address) -> None:
    async def declare(channel: AbstractChannel) -> None:
        await channel.declare_queue("memq.own", durable=True)

    async def delete(channel: AbstractChannel) -> None:
        await channel.queue_delete("memq.write")

    async def bind(channel: AbstractChannel) -> None:
        queue = await channel.get_queue("memq.write", ensure=False)
        await queue.bind("memq.dead", "")

    async with await aio_pika.connect(address.url) as connection:
        for forbidden in (declare, delete, bind):
            with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
                async with connection.channel() as channel:
                    await asyncio.wait_for(forbidden(channel), 30)
        async with connection.channel() as channel:
            for queue in topology().queues:
                await channel.declare_queue(queue.name, passive=True)
            for each in topology().exchanges:
                exchange = await channel.get_exchange(each.name, ensure=False)
                # The internal exchange routes by lane.
                message = aio_pika.Message(b"{}", headers={headers.LANE: "bulk"})
                confirmed = await exchange.publish(message, "upsert.docs", mandatory=True, timeout=30)
                assert isinstance(confirmed, pamqp.commands.Basic.Ack)
