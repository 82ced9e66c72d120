"""What a running worker says of itself while what it stands on comes and goes."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import aio_pika
import numpy as np
import psutil
import pytest

from memq import Producer
from memq_schemas import Names
from stack.node import Node
from tests.support.broker import Address
from tests.support.engine import embedded_engine
from tests.support.processes import listeners, stopped
from tests.support.scrape import fetched, says, scraped, verdict
from tests.support.until import until
from tests.support.worker import COMMAND, free_port, running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from stack.broker import Server
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration


async def healthcheck(port: int, *arguments: str) -> tuple[int, str]:
    def run() -> tuple[int, str]:
        line = [COMMAND, "healthcheck", "--metrics-port", str(port), *arguments]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stdout + ended.stderr

    return await asyncio.to_thread(run)


def dependency(body: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = body["dependencies"][name]
    assert found["checked_at"].endswith("Z")
    return found


async def shows(port: int, name: str, total: float) -> bool:
    return (await asyncio.to_thread(scraped, port)).total(name) == total


async def test_a_worker_is_not_ready_while_the_store_is_away_and_ready_again_after(
    amqp: Address, engine: EmbeddedEngine
) -> None:
    port = free_port()
    with running_worker(amqp, qdrant_url=engine.url, metrics_port=port, store_timeout_seconds=3, drain_seconds=8):
        body = await says(200, port, "/readyz")
        for name in ("rabbitmq", "qdrant"):
            found = dependency(body, name)
            assert (found["status"], found["reason"]) == ("up", None)
            assert found["latency_ms"] > 0
        assert await healthcheck(port, "--readyz") == (0, "ready\n")
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            await producer.collections.create("docs", 2)
            engine.kill()
            await producer.upsert("docs", ids=[1], vectors=np.ones((1, 2)))
            await until(lambda: shows(port, "memq_store_held", 1), within=30)
            body = await says(503, port, "/readyz")
            await until(lambda: verdict(port, "/readyz")[1]["workers"][0]["held"], within=30)
            body = await says(503, port, "/readyz")
            assert any(reason.startswith("held: ") for reason in body["workers"][0]["reasons"])
            await until(lambda: verdict(port, "/readyz")[1]["dependencies"]["qdrant"]["status"] == "down", within=30)
            assert "cannot be reached" in dependency(verdict(port, "/readyz")[1], "qdrant")["reason"]
            assert dependency(body, "rabbitmq")["status"] == "up"
            code, line = await healthcheck(port, "--readyz")
            assert (code, line.startswith("not ready, worker 0: ")) == (1, True), line
            assert (await healthcheck(port))[0] == 0, "an outage is no reason to restart it"
            page = await asyncio.to_thread(scraped, port)
            assert page.total("memq_ready") == 0
            engine.start()
            await says(200, port, "/readyz")
            assert (await producer.count("docs")).count == 1
        page = await asyncio.to_thread(scraped, port)
        assert (page.total("memq_ready"), page.total("memq_store_held")) == (1, 0)
        assert page.total("memq_store_held_seconds_total") > 0


@pytest.mark.slow
async def test_a_broker_short_of_memory_shows_as_blocked(server: Server, engine: EmbeddedEngine) -> None:
    if not isinstance(server, Node):
        pytest.skip("needs rabbitmqctl on a node of its own")
    port = free_port()
    address = Address(server.amqp_url, "memq", server.management_url, "/")
    with running_worker(address, qdrant_url=engine.url, metrics_port=port) as worker:
        await says(200, port, "/readyz")
        # Only a connection that publishes is told, as the worker's does once it reads this: no sooner than the alarm.
        with stopped(worker.process.pid):
            async with await aio_pika.connect(address.url) as connection:
                channel = await connection.channel()
                commands = await channel.get_exchange(Names(address.prefix).commands, ensure=False)
                await commands.publish(aio_pika.Message(b"not JSON", delivery_mode=2), "upsert.docs")
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            await until(lambda: shows(port, "memq_amqp_blocked", 1), within=30)
        finally:
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.6")
        await until(lambda: shows(port, "memq_amqp_blocked", 0), within=30)
        await until(lambda: shows(port, "memq_dead_letters_total", 1), within=30)
        assert worker.process.poll() is None


async def test_a_worker_is_not_ready_while_rabbitmq_is_away_and_counts_the_connection_it_makes_again(
    server: Server, engine: EmbeddedEngine
) -> None:
    port = free_port()
    address = Address(server.amqp_url, "memq", server.management_url, "/")
    with running_worker(address, qdrant_url=engine.url, metrics_port=port) as worker:
        await says(200, port, "/readyz")
        await asyncio.to_thread(server.kill)
        body = await says(503, port, "/readyz")
        await until(lambda: verdict(port, "/readyz")[1]["dependencies"]["rabbitmq"]["status"] == "down", within=30)
        body = await says(503, port, "/readyz")
        found = dependency(body, "rabbitmq")
        assert (found["status"], found["latency_ms"]) == ("down", None)
        assert found["reason"]
        assert "not consuming" in body["workers"][0]["reasons"]
        assert dependency(body, "qdrant")["status"] == "up"
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(worker.ready, 2)
        await says(200, port, "/readyz")
        page = await asyncio.to_thread(scraped, port)
        assert page.total("memq_amqp_reconnects_total") == 1


async def test_nobody_there_and_a_stranger_are_told_apart(engine: EmbeddedEngine) -> None:
    nobody = await healthcheck(free_port())
    assert (nobody[0], "does not answer" in nobody[1]) == (1, True), nobody
    off = await healthcheck(0)
    assert (off[0], "MEMQ_METRICS_PORT is 0" in off[1]) == (1, True), off
    stranger = await healthcheck(int(engine.address.rpartition(":")[2]))
    assert stranger[0] == 1, stranger
    wrong = await healthcheck(70_000)
    assert (wrong[0], "--metrics-port" in wrong[1]) == (1, True), wrong


async def test_the_endpoint_listens_on_loopback_and_serves_nothing_else(amqp: Address, engine: EmbeddedEngine) -> None:
    port = free_port()
    with running_worker(amqp, qdrant_url=engine.url, metrics_port=port) as worker:
        assert fetched(port, "/")[0] == 404
        assert fetched(port, "/metrics/../etc/passwd")[0] == 404
        own = psutil.Process(worker.process.pid)
        listening = listeners([own, *own.children(recursive=True)])
        assert {host for host, number in listening if number == port} == {"127.0.0.1"}


async def test_a_store_that_hangs_is_reported_by_readiness_and_by_the_check(amqp: Address, tmp_path: Path) -> None:
    """Stopped by SIGSTOP the engine keeps its port and its connections, and answers nothing."""
    port = free_port()
    options = {"metrics_port": port, "store_timeout_seconds": 3, "drain_seconds": 8}
    with embedded_engine(tmp_path / "vectors") as engine, running_worker(amqp, qdrant_url=engine.url, **options):
        line = [COMMAND, "check", "--amqp-url", amqp.url, "--prefix", amqp.prefix, "--data-dir", f"{engine.data_dir}"]
        await says(200, port, "/readyz")
        with stopped(engine.pid):
            body = await says(503, port, "/readyz")
            assert dependency(body, "qdrant")["status"] == "down"
            ended = await asyncio.to_thread(
                subprocess.run, line, capture_output=True, text=True, timeout=60, check=False
            )
            assert ended.returncode == 1, ended.stdout
            assert engine.address in ended.stdout
        await says(200, port, "/readyz")
