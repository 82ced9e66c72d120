"""`memq traffic` and `memq load` on a real worker: what they send, tell, promise and leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import Operation
from tests.support.broker import Address, depth, own_address
from tests.support.responder import SILENCE, responder
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

MEMQ = str(Path(sys.executable).with_name("memq"))
SECONDS = 120


class Memq:
    def __init__(self, address: Address) -> None:
        self.address = address
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
        self.environ = {**clean, "MEMQ_AMQP_URL": address.url, "MEMQ_PREFIX": address.prefix}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [MEMQ, *arguments], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments) as child:
            out, told = child.communicate(timeout=SECONDS)
        assert "\x1b" not in out + told
        return subprocess.CompletedProcess(arguments, child.returncode, out, told)

    def json(self, code: int, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def collections(self) -> list[str]:
        return self.run("collections", "list").stdout.split()


@pytest.fixture(scope="module")
def memq(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memq]:
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        yield Memq(address)


async def test_traffic_is_of_every_kind_and_leaves_only_dead_letters(memq: Memq) -> None:
    before = await depth(memq.address, f"{memq.address.prefix}.dead")
    arguments = ["--rate", "60", "--seconds", "4", "--bad", "0.1", "--size", "8"]
    found = await asyncio.to_thread(memq.json, 0, "traffic", *arguments)
    assert set(found["operations"]) == {"upsert", "query", "get", "count", "payload", "delete", "bad"}
    assert found["total"]["requests"] + found["not_sent"] == 240
    assert {name for name, figures in found["operations"].items() if figures["errors"]} == set(), found["codes"]
    # Of four bad requests in turn two are writes, one after the other's query.
    writes = (found["operations"]["bad"]["requests"] + 1) // 2
    await until(lambda: _dead(memq.address, before + writes), within=60)
    assert memq.collections() == []
    assert await depth(memq.address, f"{memq.address.prefix}.dead") == before + writes


async def _dead(address: Address, count: int) -> bool:
    return await depth(address, f"{address.prefix}.dead") >= count


def test_interrupted_traffic_ends_in_order(memq: Memq) -> None:
    with memq.start("traffic", "--rate", "30", "--size", "8", "--bad", "0") as child:
        assert child.stderr is not None
        assert "30 requests a second to memq-traffic (made)" in child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        out, told = child.communicate(timeout=SECONDS)
    assert (child.returncode, told) == (0, "")
    # On a busy machine requests may be due for which there is no room.
    assert re.search(r"^all .*\n(\nerrors by code: not_sent \d+\n)?\Z", out, re.MULTILINE), out
    assert memq.collections() == []


def test_a_collection_that_was_there_is_left_there(memq: Memq) -> None:
    memq.run("collections", "create", "theirs", "--size", "4")
    short = ["-c", "theirs", "--size", "4", "--seconds", "0.5"]
    assert memq.json(0, "traffic", *short, "--bad", "0")["total"]["errors"] == 0
    assert memq.json(0, "load", *short, "--users", "2", "--p95", "60000")["total"]["errors"] == 0
    assert memq.run("load", *short, "--size", "5").returncode == 1
    assert memq.collections() == ["theirs"]
    memq.run("collections", "delete", "theirs")
    memq.run("load", *short, "--users", "2", "--keep")
    assert memq.collections() == ["theirs"]
    memq.run("collections", "delete", "theirs")


def test_a_load_that_keeps_its_promises(memq: Memq) -> None:
    done = memq.run("load", "--stages", "1s:2,1s:5", "--size", "8", "--p95", "60000")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert " ".join(lines[0].split()) == "requests per s errors p50 ms p90 ms p95 ms p99 ms max ms"
    assert [line.split()[0] for line in lines[1:4]] == ["query", "upsert", "all"]
    assert [line.partition(":")[0] for line in lines[-2:]] == ["✓ p95 < 60000 ms", "✓ errors < 1 %"]
    assert "up to 5 users for 2 s" in done.stderr
    assert memq.collections() == []


def test_a_load_that_is_too_slow(memq: Memq) -> None:
    done = memq.run("load", "--open-loop", "20", "--seconds", "1", "--size", "8", "--p95", "0.001")
    assert done.returncode == 4
    assert "✗ p95 < 0.001 ms" in done.stdout
    assert "✓ errors" in done.stdout
    found = memq.json(4, "load", "--open-loop", "20", "--seconds", "1", "--size", "8", "--p95", "0.001")
    assert found["total"]["requests"] == 20
    assert [threshold["kept"] for threshold in found["thresholds"]] == [False, True]


async def test_errors_are_counted_by_code_and_cross_the_threshold(amqp: Address) -> None:
    """With a worker that never answers a query."""
    memq = Memq(amqp)
    async with responder(amqp.url, amqp.prefix) as standin:
        standin.on(Operation.QUERY, lambda _: SILENCE)
        arguments = ["--users", "3", "--seconds", "0.5", "--timeout", "0.7", "--p95", "60000"]
        found = await asyncio.to_thread(memq.json, 4, "load", *arguments)
    assert set(found["codes"]) == {"no_answer"}
    assert found["operations"]["query"]["errors"] == found["operations"]["query"]["requests"] >= 3
    assert found["operations"]["upsert"]["errors"] == 0
    assert [threshold["kept"] for threshold in found["thresholds"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["load", "--stages", "10"], "--stages"),
        (["load", "--users", "3", "--open-loop", "2"], "at most one of"),
        (["traffic", "--mix", "put=3"], "expected one of upsert"),
        (["traffic", "--rate", "0"], "--rate"),
    ],
)
def test_wrong_usage(memq: Memq, arguments: list[str], told: str) -> None:
    done = memq.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
