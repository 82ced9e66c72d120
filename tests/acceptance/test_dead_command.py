"""`memq dead` as an operator meets it."""

from __future__ import annotations

import asyncio
import os
import pty
import random
import select
import signal
import subprocess
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

import aio_pika
import orjson
import pytest

from memq_schemas import Names
from tests.support.broker import Address, depth, own_address
from tests.support.command import MEMQ, SECONDS, Memq
from tests.support.dead import bury, failed, left
from tests.support.responder import declare
from tests.support.tcp_proxy import tcp_proxy
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

SEED = 20261123


@pytest.fixture(scope="module")
def memq(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memq]:
    """With a real worker and an embedded store."""
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        yield Memq(address)


def test_from_a_mistake_to_its_repair(memq: Memq, tmp_path: Path) -> None:
    memq.ok("collections", "create", "three", "--size", "3")
    for name in ("missing", "three"):
        (tmp_path / "points.jsonl").write_text('{"id": 7, "vector": [1.0, 2.0]}\n')
        memq.fails(1, "upsert", tmp_path / "points.jsonl", "-c", name, "--wait")

    listed = memq("dead", "list")
    assert listed.returncode == 0
    first, second = (line.split("\t") for line in listed.stdout.splitlines())
    assert (first[0], *first[2:6]) == ("1", "unknown_collection", "upsert", "missing", "1")
    assert (second[0], *second[2:6]) == ("2", "wrong_dimension", "upsert", "three", "1")
    assert "2 dimensions" in second[8]
    assert "memq: 2 of 2 dead letters: unknown_collection 1, wrong_dimension 1" in listed.stderr
    told = memq.json("dead", "list", "-c", "three", "--op", "upsert", "--newer-than", "1h", "--attempts", "1")
    assert (told["depth"], told["selected"], told["codes"]) == (2, 1, {"wrong_dimension": 1})
    (letter,) = told["letters"]
    # Of letters that were handed back before, a worker's look at the head puts the first behind the others.
    assert letter["position"] in (1, 2)

    shown = memq.ok("dead", "show", letter["message_id"])
    assert "code: wrong_dimension" in shown
    assert "x-worker: " in shown
    assert "id: 7" in shown
    whole = memq.json("dead", "show", letter["position"], "--body", tmp_path / "body.json")
    assert whole["body"]["points"][0]["id"] == 7
    assert orjson.loads((tmp_path / "body.json").read_bytes())["points"][0]["id"] == 7
    assert memq.ok("dead", "show", letter["message_id"], "--body", "-") == (tmp_path / "body.json").read_text()
    assert "no dead letter 3" in memq.fails(2, "dead", "show", "3")

    memq.ok("collections", "create", "missing", "--size", "2")
    assert memq.ok("dead", "replay", "--code", "unknown_collection", "--dry-run").startswith(
        "1 of 2 dead letters would"
    )
    told = memq.ok("dead", "replay", "--code", "unknown_collection")
    assert told == "1 of 2 dead letters sent again: unknown_collection 1\n"
    while memq.json("count", "-c", "missing")["count"] == 0:
        pass
    assert memq.ok("dead", "purge", "--dry-run") == "1 of 1 dead letters would be removed: wrong_dimension 1\n"
    assert "--yes" in memq.fails(2, "dead", "purge")
    purged = memq.json("dead", "purge", "--yes", "--older-than", "0s")
    assert (purged["walked"], purged["done"]) == (1, 1)
    assert memq.json("dead", "list")["depth"] == 0


def test_a_corrected_letter_is_applied(memq: Memq, tmp_path: Path) -> None:
    memq.ok("collections", "create", "corrected", "--size", "3")

    def bury(point: int) -> str:
        (tmp_path / "points.jsonl").write_text(f'{{"id": {point}, "vector": [1.0, 2.0]}}\n')
        memq.fails(1, "upsert", tmp_path / "points.jsonl", "-c", "corrected", "--wait")
        (letter,) = memq.json("dead", "list", "-c", "corrected")["letters"]
        return letter["message_id"]

    def corrected(body: bytes) -> bytes:
        document = orjson.loads(body)
        document["points"][0]["vector"] = [1.0, 2.0, 3.0]
        return orjson.dumps(document)

    name, file = bury(1), tmp_path / "letter.json"
    memq.ok("dead", "show", name, "--body", file)
    file.write_bytes(corrected(file.read_bytes()))
    assert memq.json("dead", "replay", "--id", name, "--body", file)["done"] == 1

    name = bury(2)
    shown = memq.ok("dead", "show", name, "--body", "-")
    memq.ok("dead", "replay", "--id", name, "--body", "-", text=corrected(shown.encode()).decode())

    name = bury(3)
    memq.environ["EDITOR"] = "true"
    assert "unchanged" in memq.fails(2, "dead", "replay", "--id", name, "--edit")
    memq.environ["EDITOR"] = "false"
    assert "exit status 1" in memq.fails(2, "dead", "replay", "--id", name, "--edit")
    memq.environ["EDITOR"] = "nowhere/at/all"
    assert "No such file" in memq.fails(2, "dead", "replay", "--id", name, "--edit")
    memq.ok("dead", "show", name, "--body", file)
    file.write_bytes(corrected(file.read_bytes()))
    memq.environ["EDITOR"] = f"cp {file}"
    memq.ok("dead", "replay", "--id", name, "--edit")

    while memq.ok("count", "corrected") != "3\n":
        pass
    assert memq.json("dead", "list", "-c", "corrected")["selected"] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "--older-than", "yesterday"], "'yesterday': expected a duration like 90s"),
        (["replay", "--attempts", "many"], "3, 3+ or 2-5"),
        (["replay", "--op", "insert"], "'insert' is not one of upsert,"),
        (["replay", "--body", "-"], "exactly one --id"),
        (["replay", "--edit", "--id", "a", "--id", "b"], "exactly one --id"),
        (["replay", "--body", "/nowhere/at/all", "--id", "a"], "/nowhere/at/all: No such file"),
        (["purge", "--limit", "0", "--yes"], "--limit"),
        (["show", "1", "--body", "/nowhere/at/all"], "/nowhere/at/all: No such file"),
    ],
)
async def test_wrong_usage(amqp: Address, arguments: list[str], told: str) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        await bury(channel, amqp.prefix, 1)
    assert told in await asyncio.to_thread(Memq(amqp).fails, 2, "dead", *arguments)


def test_without_the_queue_it_says_what_to_do(amqp: Address) -> None:
    assert "memq-worker declare" in Memq(amqp).fails(1, "dead", "list")


@pytest.mark.parametrize(("answer", "gone"), [("y\n", 2), ("\n", 0), ("no\n", 0), (None, 0)])
async def test_on_a_terminal_a_purge_asks_first(amqp: Address, answer: str | None, gone: int) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        for number in range(3):
            # What a sender chose must not reach the terminal as an order.
            await bury(channel, amqp.prefix, number, own=failed("invalid" if number else "\x1b[2Jwipe"))
    seen, code = await asyncio.to_thread(_on_terminal, Memq(amqp), answer, "dead", "purge", "--code", "invalid")
    assert "remove 2 of 3 dead letters (invalid 2) for good? [y/N]" in seen
    assert code == (130 if answer is None else 0)
    dead = Names(amqp.prefix).dead

    async def back() -> bool:
        return await depth(amqp, dead) == 3 - gone

    await until(back)
    listed, _ = await asyncio.to_thread(_on_terminal, Memq(amqp), "", "dead", "list")
    assert "\x1b[2J" not in listed
    assert "wipe" in listed


def _on_terminal(memq: Memq, answer: str | None, *arguments: str) -> tuple[str, int]:
    """What the command shows on a terminal where somebody answers its question, or interrupts (None); its exit code."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        memq.line(*arguments),
        env=memq.environ | {"COLUMNS": "200", "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as child:
        os.close(slave)
        seen = ""
        while child.poll() is None or select.select([master], [], [], 0)[0]:
            if not select.select([master], [], [], SECONDS)[0]:
                child.kill()
                break
            try:
                seen += os.read(master, 4096).decode(errors="replace")
            except OSError:
                break
            if answer != "" and "[y/N]" in seen:
                if answer is None:
                    child.send_signal(signal.SIGINT)
                else:
                    os.write(master, answer.encode())
                answer = ""
    os.close(master)
    return seen, child.returncode


@pytest.mark.slow
async def test_a_replay_killed_again_and_again_loses_nothing(amqp: Address) -> None:
    chance = random.Random(SEED)
    count, names = 1000, Names(amqp.prefix)
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        for number in range(count):
            await bury(channel, amqp.prefix, number)

        async def ready(queue: str) -> int:
            return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0

        killed = 0
        with tcp_proxy(amqp.url) as proxy:
            # Slow enough that a kill meets it at work.
            proxy.delay(0.02)
            for _ in range(6):
                goal = await ready(names.write) + chance.randint(1, 120)
                line = Memq(amqp).line("dead", "replay", "--url", proxy.url(amqp.url))
                child = await asyncio.create_subprocess_exec(*line, env=Memq(amqp).environ, stdout=PIPE, stderr=PIPE)
                ending = asyncio.ensure_future(child.communicate())

                async def reached(goal: int = goal, ending: asyncio.Future[Any] = ending) -> bool:
                    return ending.done() or await ready(names.write) >= goal

                await until(reached, within=SECONDS)
                if not ending.done():
                    child.send_signal(chance.choice([signal.SIGKILL, signal.SIGINT]))
                await ending
                killed += child.returncode in (-signal.SIGKILL, 130)
    assert killed >= 3
    told = await asyncio.to_thread(Memq(amqp).json, "dead", "replay")
    assert told["done"] == told["depth"]
    found: set[int] = set()

    async def all_found() -> bool:
        # What a killed one had not given back yet may come late.
        for queue in (names.dead, names.write):
            found.update(map(int, await left(amqp, queue)))
        return found >= set(range(count))

    await until(all_found, within=SECONDS)
    assert len(found) == count


async def test_a_replay_killed_while_the_broker_refuses_loses_nothing(amqp: Address) -> None:
    names = Names(amqp.prefix)
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        await declare(channel, amqp.prefix)
        await (await channel.get_queue(names.write, ensure=False)).unbind(names.commands, "upsert.#")
        limit = {"x-max-length": 5, "x-overflow": "reject-publish"}
        full = await channel.declare_queue("full", arguments=limit, durable=True)
        await full.bind(names.commands, "upsert.#")
        for number in range(100):
            await bury(channel, amqp.prefix, number)
        child = await asyncio.create_subprocess_exec(*Memq(amqp).line("dead", "replay"), env=Memq(amqp).environ)

        async def refused() -> bool:
            return await depth(amqp, "full") == 5

        await until(refused, within=SECONDS)
        child.kill()
        await child.wait()
        found: set[int] = set()

        async def all_found() -> bool:
            for queue in (names.dead, "full"):
                found.update(map(int, await left(amqp, queue)))
            return found == set(range(100))

        await until(all_found, within=SECONDS)


def test_help_teaches() -> None:
    for command in ("list", "show", "replay", "purge"):
        told = subprocess.run([MEMQ, "dead", command, "--help"], capture_output=True, text=True, check=True).stdout
        assert f"\n  memq dead {command}" in told
