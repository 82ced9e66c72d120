"""How many files of ours one message enters, and how often the call passes from one file to another.

Counted with `sys.setprofile` in the thread of the producer or the worker, between a real broker and the embedded
engine: calls into files of our packages alone, for a message that five of its kind have gone before. The least of nine
messages, because timers run in between. Counts the tree that it is run in, so an older one can be compared:

    cd OLDER-TREE && .venv/bin/python NEWER-TREE/tests/benchmarks/files.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())

from memq import PointRow, Producer
from memq_worker.environment import load
from memq_worker.service import serve
from stack.broker import found
from tests.support.broker import own_address
from tests.support.engine import embedded_engine
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

    from tests.support.broker import Address

    Send = Callable[[Producer], Awaitable[Any]]

SIZE = 8
WARM_UP, MESSAGES = 5, 9
COLLECTION = "docs"
PACKAGES = tuple(f"{Path.cwd() / folder}/" for folder in ("schemas", "transport", "producer", "worker"))


class Calls:
    """A profile function that keeps the file of each call into our packages."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            self.files.append(frame.f_code.co_filename)

    @property
    def figures(self) -> tuple[int, int]:
        """Different files, and moves from one to another."""
        return len(set(self.files)), sum(a != b for a, b in zip(self.files, self.files[1:], strict=False))


def kinds() -> dict[str, Send]:
    vectors = [[float(number)] * SIZE for number in range(100)]
    payloads = [{"title": "a title", "number": number} for number in range(100)]
    rows: list[PointRow] = [{"id": n, "vector": vectors[n], "payload": payloads[n]} for n in range(100)]
    import numpy as np

    matrix = np.array(vectors, np.float32)
    return {
        "one point": lambda producer: producer.upsert(COLLECTION, rows[:1]),
        "100 rows": lambda producer: producer.upsert(COLLECTION, rows),
        "100 points, columns": lambda producer: producer.upsert(
            COLLECTION, ids=range(100), vectors=matrix, payloads=payloads
        ),
        "query": lambda producer: producer.query(COLLECTION, vectors[1]),
    }


async def in_producer(address: Address) -> AsyncIterator[tuple[str, Calls]]:
    async with Producer(address.url, prefix=address.prefix) as producer:
        await producer.collections.create(COLLECTION, SIZE)
        for kind, send in kinds().items():
            for _ in range(WARM_UP):
                await send(producer)
            best = Calls()
            for number in range(MESSAGES):
                calls = Calls()
                sys.setprofile(calls)
                await send(producer)
                sys.setprofile(None)
                best = calls if number == 0 else min(best, calls, key=lambda each: each.figures)
            yield kind, best


async def in_worker(address: Address, qdrant_url: str) -> dict[str, Calls]:
    """The worker runs in this thread, and a producer in another sends to it."""
    loop = asyncio.get_running_loop()
    counted: dict[str, Calls] = {}

    async def message(producer: Producer, send: Send) -> Calls:
        calls = Calls()
        loop.call_soon_threadsafe(sys.setprofile, calls)
        await asyncio.sleep(0.05)
        await send(producer)
        # The confirm of a write comes before the worker has it, and nothing tells when it is settled.
        await asyncio.sleep(0.15)
        loop.call_soon_threadsafe(sys.setprofile, None)
        await asyncio.sleep(0.05)
        return calls

    async def drive() -> None:
        async with Producer(address.url, prefix=address.prefix) as producer:
            for kind, send in kinds().items():
                for _ in range(WARM_UP):
                    await message(producer, send)
                all_calls = [await message(producer, send) for _ in range(MESSAGES)]
                counted[kind] = min(all_calls, key=lambda each: each.figures)

    def drive_and_stop() -> None:
        try:
            asyncio.run(drive())
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    given = {"amqp_url": address.url, "prefix": address.prefix, "qdrant_url": qdrant_url, "metrics_port": "0"}
    driving = threading.Thread(target=drive_and_stop)
    driving.start()
    await serve(load(given))
    driving.join()
    return counted


def show(side: str, kind: str, calls: Calls, *, files: bool) -> None:
    entered, moves = calls.figures
    print(f"{side:<10}{kind:<22}{entered:>5}{moves:>7}")
    if files:
        for name in dict.fromkeys(calls.files):
            print(f"    {Path(name).relative_to(Path.cwd())}")


async def _show_producer(address: Address, *, files: bool) -> None:
    async for kind, calls in in_producer(address):
        show("producer", kind, calls, files=files)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the files that one message enters, and the moves between them.")
    parser.add_argument("--files", action="store_true", help="list the files in the order in which they are entered")
    files = parser.parse_args().files
    print(f"{'':<32}{'files':>5}{'moves':>7}")
    with ExitStack() as stack:
        address = stack.enter_context(own_address(stack.enter_context(found())))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memq-files-")))
        engine = stack.enter_context(embedded_engine(directory / "data"))
        with running_worker(address, qdrant_url=engine.url):
            asyncio.run(_show_producer(address, files=files))
        for kind, calls in asyncio.run(in_worker(address, engine.url)).items():
            show("worker", kind, calls, files=files)


if __name__ == "__main__":
    main()
