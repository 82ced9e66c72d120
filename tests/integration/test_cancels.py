"""A cancelled task ends, wherever it waits at that moment."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

import memq_amqp.connection
import memq_amqp.loss
import memq_amqp.tasks
import pytest
from pydantic import SecretStr

from memq import MemqError, Producer
from memq_worker import probes, service, suspects
from memq_worker.settings import Settings
from memq_worker.stop import Stop
from tests.support.endings import all_ended
from tests.support.steps import Cancels, Point

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Enough for a loaded machine; shorter than the interval of repeated cancels, which would hide a lost one.
SECONDS = 20.0
# Without an untried await point for so long, a running worker has none left.
QUIET_SECONDS = 0.7


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(probes, "_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(suspects, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(memq_amqp.tasks, "_REPEAT_SECONDS", 3 * SECONDS)


@contextlib.asynccontextmanager
async def traffic(amqp: Address) -> AsyncGenerator[None]:
    """Writes and questions of a producer, until the end of the block."""
    over = asyncio.Event()

    async def ask() -> None:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=5) as producer:
            while not over.is_set():
                with contextlib.suppress(MemqError):
                    await producer.collections.create("docs", 2, exist_ok=True)
                    await producer.upsert("docs", [{"id": 1, "vector": [1.0, 2.0]}], wait=True)
                    await producer.query("docs", [1.0, 2.0])
                await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        over.set()
        await memq_amqp.stopped(asking)


async def one_round(cancels: Cancels, amqp: Address, settings: Settings, stop: Stop) -> str | None:
    """Run a worker under load, cancel one task, stop the worker. Return what did not end."""
    cancels.begin()
    serving = asyncio.create_task(service.serve(settings))
    async with traffic(amqp):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                await asyncio.wait({asyncio.create_task(cancels.chosen.wait()), serving}, return_when="FIRST_COMPLETED")
        stop()
        _, serves = await asyncio.wait({serving}, timeout=SECONDS)
        task, cancels.open = cancels.task, False
        if task is not None:
            await asyncio.wait({task}, timeout=SECONDS)
    if task is not None and not task.done():
        return f"{cancels.point}: {task}"
    return f"{cancels.point}: the worker does not stop" if serves else None


async def lost(
    amqp: Address, engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, *, first: bool = False
) -> tuple[set[Point], list[str]]:
    """The await points that were tried, and what did not end: all of it, or only the `first`."""
    stop = Stop()

    @contextlib.contextmanager
    def on_signals(_: Stop) -> Generator[Stop]:
        yield stop

    monkeypatch.setattr(service, "on_signals", on_signals)
    settings = Settings(
        amqp_url=SecretStr(amqp.url),
        prefix=amqp.prefix,
        qdrant_url=engine.url,
        metrics_port=0,
        worker_name="tested",
        store_timeout_seconds=2.0,
    )
    cancels, found = Cancels(), list[str]()
    loop = asyncio.get_running_loop()
    factory: Any = cancels
    loop.set_task_factory(factory)
    try:
        while True:
            stop = Stop()
            if problem := await one_round(cancels, amqp, settings, stop):
                found.append(problem)
            if cancels.point is None or (first and found):
                return cancels.tried, found
    finally:
        loop.set_task_factory(None)
        # A connection whose closing was cancelled is half closed; what was made not to end never does.
        with contextlib.suppress(TimeoutError):
            await all_ended(cancel=True, within=5.0)


@pytest.mark.timeout(300)
async def test_every_task_ends_when_cancelled_at_any_await(
    amqp: Address, engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, found = await lost(amqp, engine, monkeypatch)
    assert not found
    assert len({name for name, _, _ in tried}) > 15, "the worker's own tasks are not among those cancelled"


@contextlib.contextmanager
def losing() -> Generator[None]:
    """What `cancellable` replaced: a cancel that the library dropped is taken for an ordinary loss."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise memq_amqp.Lost("the connection was lost") from error


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio.wait_for drops no cancel from Python 3.12 on")
async def test_a_cancel_that_the_library_drops_is_noticed_here(
    amqp: Address, engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memq_amqp.loss, memq_amqp.connection):
        monkeypatch.setattr(module, "cancellable", losing)
    _, found = await lost(amqp, engine, monkeypatch, first=True)
    assert found
