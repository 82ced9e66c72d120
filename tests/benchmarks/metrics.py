"""What counting costs a message on its way: everything that metrics add to it, against an observer of no effect."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from memq_schemas.properties import Properties
from memq_worker.observe.metrics import Metrics
from memq_worker.observe.slot import Slot
from memq_worker.observe.store import metered
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.store import PointsBatch
from tests.unit.worker.fakes import FakeLink, FakeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memq_worker.pipeline.ports import Observer, Reason
    from memq_worker.pipeline.store import Store

SIZES = (1, 10, 100, 256)
_WRITES_A_TURN = 16  # of the loop, which is when metrics get theirs to fold what they have noted


class Unseeing:
    """An observer that does nothing."""

    def settled(self, operation: str, outcome: str, deliveries: Sequence[Delivery], code: str = "") -> None: ...

    def wrote(self, operation: str, reason: Reason, points: int, messages: int) -> None: ...

    def retried(self, tier: int) -> None: ...

    def dead_lettered(self, code: str) -> None: ...

    def replied(self, outcome: str) -> None: ...

    def skewed(self) -> None: ...

    def held(self, held: bool) -> None: ...


class Instant(FakeStore):
    async def upsert(self, collection: str, points: PointsBatch) -> None: ...


def deliveries(number: int) -> list[Delivery]:
    link = FakeLink()
    stamp = int(time.time())
    return [Delivery(link, tag, "memq.write", "upsert.docs", b"", Properties(timestamp=stamp)) for tag in range(number)]


async def uncounted(observer: Observer, store: Store, batch: list[Delivery], points: Any) -> None:
    """One write as far as metrics know of it, and the marks on deliveries left out."""
    for _ in batch:
        pass
    for _ in batch:
        pass
    await store.upsert("docs", points)
    for _ in batch:
        pass
    observer.wrote("upsert", "next", len(batch), len(batch))
    observer.settled("upsert", "applied", batch)


async def counted(observer: Observer, store: Store, batch: list[Delivery], points: Any) -> None:
    """The same as in pipeline.intake and pipeline.write."""
    for delivery in batch:
        delivery.times.decoded = time.perf_counter()
    began = time.perf_counter()
    for delivery in batch:
        delivery.times.began = began
    await store.upsert("docs", points)
    stored = time.perf_counter()
    for delivery in batch:
        delivery.times.stored = stored
    observer.wrote("upsert", "next", len(batch), len(batch))
    observer.settled("upsert", "applied", batch)


async def nanoseconds(
    write: Any, observer: Observer, store: Store, fold: Callable[[], None], size: int, messages: int, rounds: int
) -> float:
    """CPU a message, in the best of the rounds: what is slower was disturbed. `fold` ends one, if 100 ms have not."""
    points = PointsBatch([], {}, [])
    best = float("inf")
    batch = deliveries(size)
    times = max(1, messages // size)
    for _ in range(rounds):
        started = time.process_time_ns()
        for number in range(times):
            await write(observer, store, batch, points)
            if number % _WRITES_A_TURN == 0:
                await asyncio.sleep(0)
        fold()
        best = min(best, (time.process_time_ns() - started) / (times * size))
    return best


async def measure(messages: int, rounds: int) -> list[tuple[int, float, float]]:
    """By messages in a write: nanoseconds a message with metrics, and without."""
    metrics = Metrics(Slot.private(), asyncio.get_running_loop().call_later)
    plain = Instant()
    store = metered(plain, metrics)
    return [
        (
            size,
            await nanoseconds(counted, metrics, store, metrics.fold, size, messages, rounds),
            await nanoseconds(uncounted, Unseeing(), plain, lambda: None, size, messages, rounds),
        )
        for size in SIZES
    ]


def main(
    messages: Annotated[int, typer.Option(min=1, help="Messages a round.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each; the best is shown.")] = 5,
) -> None:
    """CPU that metrics cost a message, by how many messages share a write. Takes about ten seconds."""
    table = Table(title="metrics, nanoseconds of CPU a message")
    for column in ("messages in a write", "on", "no-op observer", "cost"):
        table.add_column(column, justify="right")
    for size, on, off in asyncio.run(measure(messages, rounds)):
        table.add_row(str(size), f"{on:,.0f}", f"{off:,.0f}", f"{on - off:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
