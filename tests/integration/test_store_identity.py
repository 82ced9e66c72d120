"""Workers of one prefix write to one store: its identity is announced on the broker, and another store is refused."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aio_pika
import pytest
from qdrant_client import grpc as q

from memq import Producer
from stack.amqp import management
from stack.broker import Broker, Server
from tests.support.broker import Address, depth, own_address
from tests.support.engine import EmbeddedEngine, embedded_engine
from tests.support.faults import Fault, faulty_store
from tests.support.until import until
from tests.support.worker import COMMAND, WorkerProcess, free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


def worker(address: Address, **settings: Any) -> WorkerProcess:
    """A worker that need not get ready."""
    given = {"amqp_url": address.url, "prefix": address.prefix, "metrics_port": 0, "worker_name": "other"}
    return WorkerProcess(given | settings)


async def announced(address: Address) -> dict[str, Any]:
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(f"{address.prefix}.store", ensure=False)
        message = await queue.get(timeout=10)
        assert message is not None
        await message.nack(requeue=True)
        return json.loads(message.body)


async def test_a_pool_with_another_engine_refuses_to_start_and_names_the_first(amqp: Address, tmp_path: Path) -> None:
    with running_worker(amqp, data_dir=tmp_path / "first") as first:
        listen = first.settings["embedded_listen"]
        second = worker(amqp, data_dir=tmp_path / "second", embedded_listen=f"127.0.0.1:{free_port()}")
        assert await asyncio.to_thread(second.ended) == 2
        assert f"MEMQ_QDRANT_URL=http://{listen}" in second.text
        assert (await announced(amqp))["url"] == f"http://{listen}"
        with running_worker(amqp, qdrant_url=f"http://{listen}"):
            pass


@pytest.mark.slow
async def test_two_pools_racing_at_first_start_share_one_broker_but_never_two_stores(
    amqp: Address, tmp_path: Path
) -> None:
    with embedded_engine(tmp_path / "a") as a, embedded_engine(tmp_path / "b") as b:
        racing = [worker(amqp, qdrant_url=engine.url, processes=2) for engine in (a, b) * 2]
        try:
            await until(lambda: any(each.logged("worker ready") for each in racing), within=60)
            await until(
                lambda: all(each.logged("worker ready") or each.process.poll() is not None for each in racing),
                within=60,
            )
            ready = {each.settings["qdrant_url"] for each in racing if each.logged("worker ready")}
            assert ready == {(await announced(amqp))["url"]}
            ended = {each.settings["qdrant_url"]: each.process.poll() for each in racing if each.process.poll()}
            assert set(ended.values()) == {2}
            assert await depth(amqp, f"{amqp.prefix}.store") == 1
        finally:
            for each in racing:
                if each.process.poll() is None:
                    each.kill()
                else:
                    each.ended()


async def test_a_wiped_directory_is_another_store(amqp: Address, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_worker(amqp, data_dir=data) as first:
        await asyncio.to_thread(first.terminate)
    with running_worker(amqp, data_dir=data) as again:
        await asyncio.to_thread(again.terminate)
    shutil.rmtree(data)
    wiped = worker(amqp, data_dir=data, embedded_listen=f"127.0.0.1:{free_port()}")
    assert await asyncio.to_thread(wiped.ended) == 2
    assert "memq-worker store adopt" in wiped.text


async def test_a_server_that_ignores_versions_is_refused_at_start(amqp: Address, engine: EmbeddedEngine) -> None:
    """Qdrant before 1.16 writes every point, whatever the condition of the upsert says."""
    async with faulty_store(engine.url) as old:
        for version, refused in (("1.15.5", True), ("1.9.0", True), ("1.16.0", False), ("2.0.0", False)):
            reply = q.HealthCheckReply(title="qdrant - vector search engine", version=version)
            old.fail_always("HealthCheck", Fault(instead=reply.SerializeToString()))
            assert (await command(amqp, "declare"))[0] == 0
            code, said = await command(amqp, "check", qdrant_url=old.url)
            assert (code, f"Qdrant {version} is too old" in said) == (int(refused), refused)
            if refused:
                started = worker(amqp, qdrant_url=old.url)
                assert await asyncio.to_thread(started.ended) == 2
                assert f"Qdrant {version} is too old" in started.text


async def test_a_store_that_changes_under_a_running_worker_holds_its_writes(
    amqp: Address, engine: EmbeddedEngine, tmp_path: Path
) -> None:
    with running_worker(amqp, qdrant_url=engine.url) as running:
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            await producer.collections.create("c", size=2)
            await producer.upsert("c", [(1, [1.0, 0.0])], wait=True)
            engine.stop()
            engine.data_dir.rename(tmp_path / "kept")
            engine.start()
            await producer.upsert("c", [(2, [1.0, 0.0])])
            await asyncio.to_thread(running.until, "store unavailable, writes held")
            engine.stop()
            shutil.rmtree(engine.data_dir)
            (tmp_path / "kept").rename(engine.data_dir)
            engine.start()
            await asyncio.to_thread(running.until, "store available, writes resumed")

            async def both() -> bool:
                return (await producer.count("c")).count == 2

            await until(both, within=60)


async def test_a_store_that_is_away_at_start_is_compared_before_the_first_write(
    amqp: Address, engine: EmbeddedEngine, tmp_path: Path
) -> None:
    with embedded_engine(tmp_path / "announced") as other, running_worker(amqp, qdrant_url=other.url) as first:
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            await producer.collections.create("c", size=2)
        await asyncio.to_thread(first.terminate)
    engine.stop()
    late = worker(amqp, qdrant_url=engine.url)
    try:
        await asyncio.to_thread(late.until, "store identity unknown, writes held")
        engine.start()
    finally:
        assert await asyncio.to_thread(late.ended) == 2


async def command(address: Address, *arguments: str, **settings: Any) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    variables = {"amqp_url": address.url, "prefix": address.prefix, "metrics_port": 0, "worker_name": "w"} | settings
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
    environ |= {f"MEMQ_{name.upper()}": str(value) for name, value in variables.items()}
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


async def test_adopt_names_what_is_no_longer_seen_and_changes_the_store(amqp: Address, tmp_path: Path) -> None:
    with embedded_engine(tmp_path / "a") as a, embedded_engine(tmp_path / "b") as b:
        with running_worker(amqp, qdrant_url=a.url) as first:
            async with Producer(amqp.url, prefix=amqp.prefix) as producer:
                await producer.collections.create("docs", size=2)
                await producer.upsert("docs", [(1, [1.0, 0.0])], wait=True)
            busy, said = await command(amqp, "store", "adopt", "--yes", qdrant_url=b.url)
            assert (busy, "consume from" in said) == (2, True)
            await asyncio.to_thread(first.terminate)
        different, said = await command(amqp, "check", qdrant_url=b.url)
        assert (different, f"MEMQ_QDRANT_URL={a.url}" in said) == (1, True)
        assert (await command(amqp, "check", qdrant_url=a.url))[0] == 0
        assert (await command(amqp, "store", "show", qdrant_url=b.url))[0] == 1
        asked, said = await command(amqp, "store", "adopt", qdrant_url=b.url)
        assert (asked, "--yes" in said) == (2, True)
        adopted, said = await command(amqp, "store", "adopt", "--yes", qdrant_url=b.url)
        assert adopted == 0
        assert "docs  1 points" in said
        assert (await announced(amqp))["url"] == b.url
        with running_worker(amqp, qdrant_url=b.url):
            pass
        refused = worker(amqp, qdrant_url=a.url)
        assert await asyncio.to_thread(refused.ended) == 2


async def test_after_forget_the_next_worker_announces_its_own_store(amqp: Address, tmp_path: Path) -> None:
    with embedded_engine(tmp_path / "a") as a, embedded_engine(tmp_path / "b") as b:
        with running_worker(amqp, qdrant_url=a.url):
            pass
        assert (await command(amqp, "store", "forget"))[0] == 0
        assert await depth(amqp, f"{amqp.prefix}.store") == 0
        with running_worker(amqp, qdrant_url=b.url):
            assert (await announced(amqp))["url"] == b.url


@pytest.mark.parametrize("mode", ["check", pytest.param("never", marks=pytest.mark.slow)])
async def test_a_worker_without_configure_permission_compares_and_announces(
    amqp: Address, engine: EmbeddedEngine, tmp_path: Path, mode: str
) -> None:
    missing = worker(amqp, qdrant_url=engine.url, declare=mode)
    assert await asyncio.to_thread(missing.ended) == 2
    assert "memq-worker declare" in missing.text
    assert (await command(amqp, "declare"))[0] == 0
    with limited_user(amqp) as limited:
        with running_worker(limited, qdrant_url=engine.url, declare=mode):
            assert (await announced(amqp))["url"] == engine.url
        with embedded_engine(tmp_path / "other") as other:
            refused = worker(limited, qdrant_url=other.url, declare=mode)
            assert await asyncio.to_thread(refused.ended) == 2


@contextmanager
def limited_user(address: Address) -> Iterator[Address]:
    """The same address for a user that may read and write but not configure."""
    parts = urlsplit(address.url)
    admin, password = unquote(parts.username or ""), unquote(parts.password or "")
    name = f"limited-{secrets.token_hex(4)}"
    api = f"{address.management_url}/api"
    management("PUT", f"{api}/users/{name}", admin, password, {"password": "limited", "tags": ""})
    try:
        rights = {"configure": "^$", "write": ".*", "read": ".*"}
        management("PUT", f"{api}/permissions/{address.vhost}/{name}", admin, password, rights)
        url = parts._replace(netloc=f"{name}:limited@{parts.hostname}:{parts.port}").geturl()
        yield replace(address, url=url)
    finally:
        management("DELETE", f"{api}/users/{name}", admin, password)


async def test_the_announcement_survives_a_restart_of_the_broker(
    server: Server, tmp_path: Path, engine: EmbeddedEngine
) -> None:
    broker = Broker(server.amqp_url, server.management_url, server.prometheus_url, server.version, "private")
    with own_address(broker) as address:
        with running_worker(address, qdrant_url=engine.url):
            before = await announced(address)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert await announced(address) == before
