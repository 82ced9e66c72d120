"""Messages that nobody should send, to a real worker: a code, a bound on memory, and a letter that can be looked at."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import aio_pika
import numpy as np
import pyarrow as pa
import pytest
import zstandard

from memq_schemas import Names, headers
from tests.support.broker import Address, depth, take
from tests.support.command import Memq
from tests.support.processes import peak_rss_mib
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

MIB = 2**20
MOST_BYTES = 6 * MIB
PREFETCH = 4
ARROW = {"content_type": headers.ARROW_STREAM}
ZSTD = {"content_encoding": "zstd"}


def point(**changes: Any) -> bytes:
    return json.dumps({"points": [{"id": 1, "vector": [1.0, 2.0]} | changes]}).encode()


def number(text: str) -> bytes:
    return b'{"points":[{"id":1,"vector":[1,%s]}]}' % text.encode()


def payload(text: str) -> bytes:
    return b'{"points":[{"id":1,"vector":[1,2],"payload":{"a":%s}}]}' % text.encode()


def arrow(vectors: np.ndarray[Any, Any]) -> bytes:
    flat = pa.array(vectors.ravel(), pa.float32())
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = pa.table({"id": pa.array(range(len(vectors)), pa.uint64()), "vector": column})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


ONE = point()[len(b'{"points": [') : -2]
UNSIZED = zstandard.ZstdCompressor(write_content_size=False)
A_MILLION = base64.b64encode(np.ones(10**6, np.float32).tobytes()).decode()

JSON_CASES: dict[str, tuple[str, bytes]] = {
    "larger than allowed": ("too_large", payload('"' + "x" * 15 * MIB + '"')),
    "deep": ("malformed", payload("[" * 2 * MIB + "]" * 2 * MIB)),
    "deeper than a payload may be": ("invalid_payload", payload("[" * 100 + "]" * 100)),
    "duplicate keys": ("malformed", b'{"points":[{"id":1,"id":2,"vector":[1,2]}]}'),
    "NaN": ("malformed", number("NaN")),
    "Infinity": ("malformed", number("-Infinity")),
    "1e999": ("invalid_vector", number("1e999")),
    "beyond float32": ("invalid_vector", number("1e39")),
    "a lone surrogate": ("malformed", payload('"\\ud800"')),
    "a huge integer": ("invalid_payload", payload("1" + "0" * 30)),
    "an integer of a million digits": ("invalid", payload("1" * MIB)),
    "a million dimensions": ("wrong_dimension", point(vector=A_MILLION)),
    "a million empty points": ("invalid", b'{"points":[' + b"{}," * 10**6 + b"{}]}"),
    "a hundred thousand points": ("too_many_points", b'{"points":[' + b",".join([ONE] * 10**5) + b"]}"),
}
OTHER_CASES: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "another content type": ("unsupported_content", b"\x80\x04\x95.\x1b[2J", {"content_type": "application/pickle"}),
    "another encoding": ("unsupported_content", gzip.compress(bytes(50 * MIB)), {"content_encoding": "gzip"}),
    "a bomb": ("too_large", zstandard.compress(bytes(256 * MIB)), ZSTD),
    "a bomb that hides its size": ("too_large", UNSIZED.compress(bytes(64 * MIB)), ZSTD),
    "no zstd": ("malformed", b"\x28\xb5\x2f\xfd\x00\x1b[2J", ZSTD),
    "no Arrow": ("malformed", b"\xff\xff\xff\xff\x1b[2J" * 9, ARROW),
    "Arrow of too many dimensions": ("wrong_dimension", arrow(np.ones((2, 3), np.float32)), ARROW),
    "headers of 100 kB": ("malformed", b"{", {"headers": {"x-h": "\x1b[2J" * 25_000}}),
    # The broker moves it by itself: a copy with a reason could not be sent.
    "headers that leave no room": ("rejected", b"{", {"headers": {"x-h": "h" * 130_800}}),
}
HOSTILE = {kind: (code, body, {}) for kind, (code, body) in JSON_CASES.items()} | OTHER_CASES
# Of every sort one: text and binary, large and small, in the body and in the headers.
SHOWN = [
    "larger than allowed",
    "a lone surrogate",
    "a bomb",
    "no Arrow",
    "headers of 100 kB",
    "headers that leave no room",
]


@pytest.mark.slow
async def test_each_gets_its_code_in_bounded_memory_and_can_be_looked_at(amqp: Address, tmp_path: Path) -> None:
    names, memq = Names(amqp.prefix), Memq(amqp)
    settings = {"data_dir": tmp_path / "data", "prefetch": PREFETCH, "max_body_bytes": MOST_BYTES}
    with running_worker(amqp, **settings) as worker:
        await asyncio.to_thread(memq.ok, "collections", "create", "docs", "--size", "2")
        before = peak_rss_mib(worker.process.pid, recursive=True)
        async with await aio_pika.connect(amqp.url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(names.commands, ensure=False)
            for kind, (_, body, properties) in HOSTILE.items():
                given: dict[str, Any] = {"content_type": headers.JSON, "correlation_id": kind, "delivery_mode": 2}
                message = aio_pika.Message(body, **given | properties)
                await exchange.publish(message, "upsert.docs")
        await until(lambda: all_dead(amqp, names), within=120, every=0.2)
        grown = peak_rss_mib(worker.process.pid, recursive=True) - before
        assert worker.process.poll() is None
        assert len(worker.logged("worker ready")) == 1
    found = {kind: await asyncio.to_thread(shown, memq, kind, tmp_path) for kind in SHOWN}
    assert found == {kind: HOSTILE[kind][:2] for kind in SHOWN}
    letters = {letter.correlation_id or "": letter for letter in await take(amqp, names.dead)}
    codes = {kind: code_of(letter.headers) for kind, letter in letters.items()}
    assert codes == {kind: code for kind, (code, *_) in HOSTILE.items()}
    assert [kind for kind, letter in letters.items() if letter.body != HOSTILE[kind][1]] == [], "it is what was sent"
    # What was handed over, once as it came and a few times as it was read; nowhere near what it says it is.
    assert grown < PREFETCH * 15 + 16 * MOST_BYTES / MIB, f"{grown:.0f} MiB more"


async def all_dead(amqp: Address, names: Names) -> bool:
    return await depth(amqp, names.dead) == len(HOSTILE)


def code_of(found: dict[str, Any]) -> Any:
    return found.get(headers.ERROR_CODE) or found["x-first-death-reason"]


def shown(memq: Memq, kind: str, directory: Path) -> tuple[str, bytes]:
    """Code and body, as the command tells them to a person; nothing of it may be what a terminal obeys."""
    told = memq.ok("dead", "show", kind, "--body", directory / "body")
    assert "\x1b" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("code: ")]
    return line.removeprefix("code: "), (directory / "body").read_bytes()
