"""`memq top` on a running worker: what it shows, and what it says when it cannot see."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memq import Producer, RemoteError
from stack.ports import free_ports
from tests.support.broker import Address, own_address
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

MEMQ = str(Path(sys.executable).with_name("memq"))
NOWHERE = "http://127.0.0.1:1/metrics"


class Top:
    def __init__(self, address: Address, metrics: str) -> None:
        self.address = address
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
        self.environ = {**clean, "MEMQ_AMQP_URL": address.url, "MEMQ_PREFIX": address.prefix}
        self.metrics = metrics

    def __call__(self, *arguments: str, metrics: str | None = None, code: int = 0) -> str:
        line = [MEMQ, "top", "--metrics", metrics or self.metrics, "--interval", "0.2", *arguments]
        done = subprocess.run(line, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (code, ""), (done.stdout, done.stderr)
        return done.stdout

    async def json(self, **given: Any) -> Any:
        return json.loads(await asyncio.to_thread(self, "--json", **given))


@pytest.fixture(scope="module")
def top(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Top]:
    (port,) = free_ports(1)
    store = tmp_path_factory.mktemp("store")
    with own_address(broker) as address, running_worker(address, data_dir=store, metrics_port=port, processes=2):
        yield Top(address, f"127.0.0.1:{port}")


async def test_what_has_happened_is_seen(top: Top) -> None:
    async with Producer(top.address.url, prefix=top.address.prefix) as producer:
        await producer.collections.create("seen", 2)
        await producer.upsert("seen", [{"id": n, "vector": [1.0, float(n)]} for n in range(5)], wait=True)
        with suppress(RemoteError):
            await producer.query("seen", [1.0])
        await producer.upsert("seen", [{"id": 1, "vector": [1.0]}])

    async def seen() -> Any:
        found = await top.json()
        dead = next(queue for queue in found["queues"] if queue["role"] == "dead")
        # The fixture waits only for the first worker to be ready.
        ready = all(worker["ready"] for worker in found["workers"])
        return found if ready and found["dead_letters"] and dead["ready"] else None

    found = await until(seen, within=60)
    assert (found["workers_up"], found["workers_expected"], found["unseen"]) == (2, 2, [])
    assert [(worker["slot"], worker["ready"]) for worker in found["workers"]] == [("0", True), ("1", True)]
    assert all(worker["memory_bytes"] > 2**20 and worker["prefetch"] > 0 for worker in found["workers"])
    assert [code["code"] for code in found["errors"]] == ["wrong_dimension"]
    assert [(code["code"], code["total"]) for code in found["dead_letters"]] == [("wrong_dimension", 1)]
    queues = {queue["role"]: queue for queue in found["queues"]}
    assert (queues["write"]["ready"], queues["write"]["consumers"]) == (0, 2)
    assert queues["dead"]["ready"] == 1
    assert "1 dead letter" in found["troubles"]


async def test_rates_and_latencies_are_of_the_moment(top: Top) -> None:
    async with Producer(top.address.url, prefix=top.address.prefix) as producer:
        await producer.collections.create("busy", 2, exist_ok=True)

        async def ask() -> None:
            while True:
                await producer.count("busy")

        asking = asyncio.create_task(ask())
        try:
            found = await top.json()
        finally:
            asking.cancel()
    (count,) = [latency for latency in found["latencies"] if latency["operation"] == "count"]
    assert count["per_second"] > 0
    assert 0 < count["p50_ms"] <= count["p95_ms"]
    assert found["settled_per_second"] > 0
    assert found["window_seconds"] > 0


def test_without_a_terminal_it_is_one_picture(top: Top) -> None:
    text = top()
    assert "\x1b" not in text
    assert "workers 2 of 2" in text
    shown = [line.split()[0] for line in text.splitlines() if line.startswith(("write", "query", "dead "))]
    assert shown[:3] == ["write", "query", "write.bulk"]


@pytest.mark.parametrize("end", ["Ctrl-C", "q"])
def test_on_a_terminal_it_lives_until_ctrl_c_or_q(top: Top, end: str) -> None:
    ours, theirs = pty.openpty()
    line = [MEMQ, "top", "--metrics", top.metrics, "--interval", "0.2"]
    environ = {**top.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "50"}
    child = subprocess.Popen(line, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        # The second picture: the first has been replaced by one that has rates.
        while seen.count(b"workers") < 4:
            seen += os.read(ours, 65536)
        if end == "q":
            os.write(ours, b"q")
        else:
            child.send_signal(signal.SIGINT)
        with suppress(OSError):
            while more := os.read(ours, 65536):
                seen += more
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert b"Traceback" not in seen


async def test_without_metrics_the_broker_is_enough_for_depth(top: Top) -> None:
    found = await top.json(metrics=NOWHERE)
    assert found["workers"] == []
    assert found["settled_per_second"] is None
    queues = {queue["role"]: queue for queue in found["queues"]}
    assert (queues["write"]["ready"], queues["write"]["consumers"], queues["write"]["oldest_seconds"]) == (0, 2, None)
    assert found["unseen"][0] == f"{NOWHERE}: Connection refused"
    assert "rates" in found["unseen"][1]


async def test_without_the_broker_the_workers_tell_of_depth(top: Top) -> None:
    blind = Top(top.address, top.metrics)
    blind.environ = {**top.environ, "MEMQ_AMQP_URL": "amqp://someone:hushhush@127.0.0.1:1/"}

    async def both_consume() -> Any:
        found = await blind.json()
        return found if found["queues"][0]["consumers"] == 2 else None

    # Workers look at their queues every few seconds.
    found = await until(both_consume, within=60)
    assert (found["workers_up"], found["queues"][0]["ready"]) == (2, 0)
    assert found["unseen"][0] == "RabbitMQ at 127.0.0.1:1 cannot be reached: Connection refused"
    text = await asyncio.to_thread(blind, metrics=NOWHERE, code=1)
    assert text.startswith("? no metrics and no broker to read\n")
    assert "hushhush" not in text


async def test_queues_that_do_not_exist_are_said_to_be_missing(amqp: Address) -> None:
    alone = Top(amqp, NOWHERE)
    found = await alone.json(code=1)
    assert "RabbitMQ has none of memq's queues" in " ".join(found["unseen"])


def test_wrong_usage(top: Top) -> None:
    done = subprocess.run([MEMQ, "top", "--metrics", "ftp://x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected http://host:9464/metrics" in done.stderr
