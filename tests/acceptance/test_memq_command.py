"""The installed `memq` command, as a person or a script meets it: exit codes, streams, a worker behind the broker."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from memq import point_id
from memq_cli.sources.read_ahead import ROWS
from tests.support.broker import Address, own_address
from tests.support.command import MEMQ, SECONDS, Memq
from tests.support.responder import responder
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

DATA = Path(__file__).resolve().parents[2] / "data"
# Lines of a file, and what is told of each.
BAD_LINES = (('{"id": "note-4", "vector": [1.0, 2.0]}', "id: "), ('{"id": 4, "vector": [1.0, 2.0]', "not JSON"))


@pytest.fixture(scope="module")
def memq(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memq]:
    """With a real worker and an embedded store."""
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        yield Memq(address, tmp_path_factory.mktemp("state"))


@pytest.fixture
def alone(amqp: Address, tmp_path: Path) -> Memq:
    """With a broker and nothing else."""
    return Memq(amqp, tmp_path / "state")


def user(name: str) -> str:
    return json.dumps({"must": [{"key": "user", "match": {"value": name}}]})


def test_from_a_parquet_file_to_answers(memq: Memq) -> None:
    told = memq("upsert", DATA / "memories.parquet", "-c", "tour", "--create", "--wait")
    assert told.stdout.startswith("512 points applied in 6 messages, ")
    assert "created collection tour (384 dimensions, cosine)" in told.stderr
    assert memq.json("upsert", DATA / "memories.parquet", "-c", "tour", "--create", "--wait")["points"] == 512
    assert memq.ok("count", "-c", "tour") == "512\n"
    assert memq.json("count", "-c", "tour", "--filter", user("u03"))["count"] == 64
    assert "tour" in memq.ok("collections", "list").splitlines()
    described = memq.json("collections", "describe", "tour")["collection"]
    assert described["vectors"] == {"": {"size": 384, "distance": "cosine"}}

    first, second = memq.json("query", "-c", "tour", "--vector-json", json.dumps([0.1] * 384), "--limit", "2")["points"]
    assert first["score"] >= second["score"]
    assert first["payload"]["created_at"].endswith(("Z", "+00:00"))
    (alike,) = memq.ok("query", "-c", "tour", "--like", first["id"], "--limit", "1", "--fields", "user").splitlines()
    assert alike.split("\t")[1] != first["id"]
    assert set(json.loads(alike.split("\t")[2])) == {"user"}

    memq.ok("set-payload", "-c", "tour", first["id"], "--set", '{"seen": true}', "--unset", "tags", "--wait")
    (point,) = memq.json("get", "-c", "tour", first["id"], "--with-vector")["points"]
    assert point["payload"]["seen"] is True
    assert "tags" not in point["payload"]
    assert len(point["vector"]) == 384
    memq.ok("delete", "-c", "tour", first["id"], second["id"], "--wait")
    memq.ok("delete", "-c", "tour", "--filter", user("u03"), "--wait")
    assert int(memq.ok("count", "-c", "tour")) in range(512 - 64 - 2, 512 - 64 + 1)
    assert memq.json("collections", "delete", "tour")["deleted"] is True
    assert "memq collections create" in memq.fails(1, "count", "-c", "tour")


def rows() -> list[dict[str, Any]]:
    return [{"user": f"u{n}", "text": f"note {n}", "vector": [n, 1.0, 0.5]} for n in range(5)]


def lines(values: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def write_jsonl(path: Path) -> list[object]:
    path = path / "notes.jsonl"
    path.write_text(lines(rows()) + "\n")
    return [path]


def write_npy(path: Path) -> list[object]:
    np.save(path / "notes.npy", np.array([row["vector"] for row in rows()], np.float16))
    payloads = path / "payloads.jsonl"
    payloads.write_text(lines([{key: row[key] for key in ("user", "text")} for row in rows()]))
    return [path / "notes.npy", "--payloads", payloads]


def write_arrow(path: Path) -> list[object]:
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist(rows())
    with pa.OSFile(str(path / "notes.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return [path / "notes.arrow"]


def write_stream(path: Path) -> list[object]:
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist(rows())
    with pa.OSFile(str(path / "notes.arrows"), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return [path / "notes.arrows"]


@pytest.mark.parametrize("write", [write_jsonl, write_npy, write_arrow, write_stream])
def test_every_kind_of_file_gives_the_same_points(
    memq: Memq, tmp_path: Path, write: Callable[[Path], list[object]]
) -> None:
    name = write.__name__
    arguments = ["-c", name, "--create", "--distance", "dot", "--id-key", "user,text", "--wait"]
    assert memq.json("upsert", *write(tmp_path), *arguments)["points"] == 5
    (point,) = memq.json("get", "-c", name, point_id("u2", "note 2"), "--with-vector")["points"]
    assert point["payload"] == {"user": "u2", "text": "note 2"}
    assert point["vector"] == [2.0, 1.0, 0.5]


def test_standard_input_and_numbered_points(memq: Memq) -> None:
    arguments = ["-c", "piped", "--create", "--id-start", "7", "--payload-columns", "user", "--wait"]
    assert memq.json("upsert", "-", *arguments, text=lines(rows()))["points"] == 5
    assert [p["payload"] for p in memq.json("get", "-c", "piped", 7, 11)["points"]] == [{"user": "u0"}, {"user": "u4"}]


def test_a_bad_line_of_a_small_file_is_named_before_anything_is_sent(memq: Memq, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    good = [{"id": n, "vector": [1.0, 2.0]} for n in range(4)]
    for line, place in BAD_LINES:
        file.write_text(lines(good) + line + "\n")
        told = memq.fails(2, "upsert", file, "-c", "small", "--create", "--batch-size", "2")
        assert f"memq: {file}, line 5: {place}" in told
        assert "nothing was sent" in told
    assert "404 unknown_collection" in memq.fails(1, "count", "-c", "small")


def test_a_bad_line_is_named_and_what_was_sent_before_is_told(memq: Memq, tmp_path: Path) -> None:
    """The bad line is the first after those that are checked before anything is sent."""
    file = tmp_path / "bad.jsonl"
    good = [{"id": n, "vector": [1.0, 2.0]} for n in range(ROWS)]
    for line, place in BAD_LINES:
        file.write_text(lines(good) + line + "\n")
        told = memq.fails(2, "upsert", file, "-c", "bad", "--create", "--batch-size", "2000", "--restart")
        assert f"memq: {file}, line {ROWS + 1}: {place}" in told
        assert f"before that {ROWS:,} points in {ROWS // 2000} messages were confirmed by the broker" in told


def test_a_refusal_by_the_worker(memq: Memq, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    memq.ok("collections", "create", "three", "--size", "3")
    file.write_text(lines([{"id": 1, "vector": [1.0, 2.0]}]))
    told = memq.fails(1, "upsert", file, "-c", "three", "--wait")
    assert "422 wrong_dimension" in told
    assert "points 0 to 0" in told
    assert "409 collection_exists" in memq.fails(1, "collections", "create", "three", "--size", "4")


def test_without_a_worker(alone: Memq, amqp: Address) -> None:
    assert "memq-worker declare" in alone.fails(1, "count", "-c", "docs")
    wrong = urlsplit(amqp.url)._replace(netloc="guest:hushhush@" + amqp.url.rpartition("@")[2].partition("/")[0])
    told = alone.fails(1, "count", "-c", "docs", "--url", wrong.geturl())
    assert "refused the user or password" in told
    assert "hushhush" not in told
    told = alone.fails(1, "count", "-c", "docs", "--url", "amqp://guest:hushhush@127.0.0.1:1", "--timeout", "0.5")
    assert "Connection refused" in told
    assert "hushhush" not in told


async def test_silence_is_a_timeout(alone: Memq, amqp: Address) -> None:
    async with responder(amqp.url, amqp.prefix, consuming=False):
        told = await asyncio.to_thread(alone.fails, 3, "count", "-c", "docs", "--timeout", "1")
    assert "no worker has answered" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["upsert", "nowhere.jsonl", "-c", "docs"], "nowhere.jsonl: no such file"),
        (["upsert", "README.md", "-c", "docs"], ".jsonl"),
        (["count", "-c", "docs", "--url", "http://x"], "expected amqp://"),
        (["count", "-c", "docs", "--filter", "{"], "--filter"),
        (["count"], "COLLECTION"),
        (["query", "-c", "docs"], "exactly one of"),
        (["query", "-c", "docs", "--vector-json", "{}"], "JSON array"),
        (["delete", "-c", "docs"], "either ids or --filter"),
    ],
)
def test_wrong_usage(alone: Memq, arguments: list[str], told: str) -> None:
    assert told in alone.fails(2, *arguments)


def test_an_interrupt_tells_what_was_sent(memq: Memq) -> None:
    memq.ok("collections", "create", "cut", "--size", "2")
    line = memq.line("upsert", "-", "-c", "cut", "--batch-size", "2", "--wait")
    with subprocess.Popen(
        line, env=memq.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write(lines([{"id": n, "vector": [1.0, 2.0]} for n in range(5)]))
        child.stdin.flush()
        while memq.json("count", "-c", "cut")["count"] < 4:
            pass
        child.send_signal(signal.SIGINT)
        told = child.stderr.read()
        assert child.wait(SECONDS) == 130
    assert "memq: interrupted" in told
    assert "before that 4 points in 2 messages were applied" in told


@pytest.mark.slow
def test_help_teaches_and_the_version_is_the_packages() -> None:
    for command in ("upsert", "query", "get", "count", "facet", "delete", "set-payload"):
        told = subprocess.run([MEMQ, command, "--help"], capture_output=True, text=True, check=True).stdout
        assert f"memq {command} " in told.replace("Usage: memq", "")
        assert "Exit codes:" in told
    told = subprocess.run([MEMQ, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("memq ")
