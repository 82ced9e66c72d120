"""An RPC echo for comparison: answers each query at once, with ten hits that it has ready. A process of its own.

python -m tests.benchmarks.echo URL PREFIX
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson

from memq_schemas import Operation
from memq_schemas.limits import MAX_QUERIES
from tests.benchmarks.load import TEXT
from tests.support.responder import responder, result

if TYPE_CHECKING:
    from collections.abc import Iterator

_HITS = [{"id": n, "score": 0.5, "payload": {"text": TEXT, "user": f"u{n}", "kind": "note", "n": n}} for n in range(10)]
_STOP_SECONDS = 10.0


async def answer(url: str, prefix: str) -> None:
    body = result(_HITS)
    packs = [result([{"status": 200, "result": _HITS}] * number) for number in range(MAX_QUERIES + 1)]
    async with responder(url, prefix) as standin:
        standin.on(Operation.QUERY, lambda _: body)
        standin.on(Operation.QUERIES, lambda message: packs[message.body.count(b'"vector"')])
        print(orjson.dumps({"ready": True}).decode(), flush=True)  # noqa: T201  (whoever started it waits for it)
        await asyncio.Event().wait()


@contextmanager
def echo(url: str, prefix: str) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.benchmarks.echo", url, prefix]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline(), "the echo did not start"
            yield
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


if __name__ == "__main__":
    asyncio.run(answer(*sys.argv[1:3]))
