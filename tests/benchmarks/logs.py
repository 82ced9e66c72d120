"""What lines and spans cost in CPU: `python -m tests.benchmarks.logs`. Every figure is the best of several rounds."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from memq_schemas import Names, Operation
from memq_schemas.properties import Properties
from memq_worker.observe import logs
from memq_worker.pipeline import lines
from memq_worker.pipeline.command import DeletePoints, Request, Write
from memq_worker.pipeline.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Generator


Work = Callable[[], None]

BATCH = 100  # messages in one write
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def delivery(number: int, key: str = "delete.docs") -> Delivery:
    nothing: Any = None
    properties = Properties(correlation_id=f"c{number}", headers={"traceparent": TRACE})
    return Delivery(nothing, number, "memq.write", key, b"{}", properties)


def microseconds(work: Work, times: int, rounds: int = 5) -> float:
    """CPU of the whole process, its writing thread included, for one call."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            work()
        for handler in logging.getLogger().handlers:
            handler.flush()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


@contextmanager
def drained() -> Generator[int]:
    """A pipe with a reader at its other end, in a process of its own."""
    reader, writer = os.pipe()
    code = "import sys\nwhile sys.stdin.buffer.read1(65536): pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=reader)
    os.close(reader)
    try:
        yield writer
    finally:
        with suppress(OSError):
            os.close(writer)
        process.wait(30)


def _works(writes: list[Write], request: Request) -> dict[str, Work]:
    each = [write.delivery for write in writes]
    return {
        "line of a write (info)": lambda: lines.batch_written(writes, BATCH, 0.01),
        "line of a message written alone (info)": lambda: lines.batch_written(writes[:1], 1, 0.01),
        "line of a request (info)": lambda: lines.request_answered(request, 3.0),
        f"lines of {BATCH} messages (debug)": lambda: _settled(each),
    }


def _settled(deliveries: list[Delivery]) -> None:
    for each in deliveries:
        lines.delivery_settled(each, "applied", None, ordinary=True)


def measured(times: int) -> list[tuple[str, str, float]]:
    """Rows of what, how, microseconds."""
    body: Any = None
    commands: list[Write] = [_deletion(n) for n in range(BATCH)]
    request = Request(delivery(1, "count.docs"), Operation.COUNT, "docs", body)
    rows: list[tuple[str, str, float]] = []
    for level, form in (("info", "json"), ("info", "text"), ("debug", "json"), ("error", "json")):
        with drained() as descriptor:
            handler = logs.configure(level, form, "bench", repeats=0, descriptor=descriptor)  # pyright: ignore[reportArgumentType]
            for what, work in _works(commands, request).items():
                per = BATCH if "messages" in what else 1
                rows.append((what, f"{form}, level {level}", microseconds(work, max(1, times // per))))
            handler.close()
    rows += _otherwise(commands, times)
    rows += _spans([command.delivery for command in commands], times)
    return rows


def _deletion(number: int) -> Write:
    from memq_schemas import Delete

    return DeletePoints(delivery(number), "docs", Delete(ids=[number]))


def _otherwise(commands: list[Write], times: int) -> list[tuple[str, str, float]]:
    """The same line by what the standard library has for it, to know what the thread of our own is worth."""
    rows: list[tuple[str, str, float]] = []
    root = logging.getLogger()
    with drained() as descriptor, os.fdopen(descriptor, "w", buffering=1) as stream:
        direct = logging.StreamHandler(stream)
        direct.setFormatter(logs.JsonLines("bench"))
        root.handlers[:] = [direct]
        root.setLevel(logging.INFO)

        def work() -> None:
            lines.batch_written(commands, BATCH, 0.01)

        rows.append(("line of a write (info)", "StreamHandler, on the loop", microseconds(work, times)))
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        listener = logging.handlers.QueueListener(waiting, direct)
        root.handlers[:] = [logging.handlers.QueueHandler(waiting)]
        began = time.process_time()
        listener.start()
        for _ in range(times):
            work()
        listener.stop()
        rows.append(("line of a write (info)", "QueueHandler", (time.process_time() - began) / times * 1e6))
        root.handlers[:] = []
    return rows


def _spans(deliveries: list[Delivery], times: int) -> list[tuple[str, str, float]]:
    from opentelemetry.sdk.trace import TracerProvider

    from memq_worker.observe.traces import Traces

    provider = TracerProvider()
    rows: list[tuple[str, str, float]] = []
    tracing = Traces(Names(), provider)

    def request() -> None:
        with tracing.request(deliveries[0]):
            pass

    def write() -> None:
        with tracing.write(deliveries):
            pass

    how = "nothing exported"
    rows.append(("span of a request", how, microseconds(request, times)))
    rows.append((f"span of a write of {BATCH} messages", how, microseconds(write, max(1, times // BATCH))))
    provider.shutdown()
    return rows


def main(times: int = 8000) -> None:
    table = Table(title="CPU of one line or span")
    for column in ("what", "how", "µs", f"µs a message, {BATCH} a write"):
        table.add_column(column, justify="left" if column in ("what", "how") else "right")
    for what, how, cost in measured(times):
        spread = f"{cost / BATCH:.3f}" if "write" in what or "messages" in what else ""
        table.add_row(what, how, f"{cost:.2f}", spread)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
