"""Latency of good writes beside collections of the same Qdrant server that fail."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aio_pika

from memq import Producer
from memq_schemas import Names, headers
from tests.support.poisons import DIMENSIONS, HEAVY, NAMES, Poisoned, bodies, poisoned_server
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Address

GOOD = "good"
PAUSE_SECONDS = 0.01  # between two messages of a poison
_AT_A_TIME = 4
_TURNS = 4  # with and without a poison, so that a slow minute of the machine hits both
_HEAVY = 3  # a backlog of slow writes would fill the prefetch window


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Latencies in milliseconds of good upserts of one point with `wait`, a few at a time.

    beside: name of the poison.   number: of upserts.
    alone_p50, alone_p99: of as many upserts without the poison, in turns with those beside it.
    """

    beside: str
    number: int
    p50: float
    p99: float
    most: float
    alone_p50: float
    alone_p99: float


async def neighbours(address: Address, directory: Path, upserts: int) -> list[Neighbour]:
    """Beside each poison and beside all of them. Raises NoQdrantError."""
    with poisoned_server(directory, GOOD) as store:
        await store.create(GOOD)
        given = {"qdrant_url": store.url, "qdrant_api_key": store.token, "filter_timeout_seconds": 0.5}
        with running_worker(address, max_attempts=2, **given) as worker:
            found = await _measured(address, store, upserts)
            worker.terminate()
    return found


async def _measured(address: Address, store: Poisoned, upserts: int) -> list[Neighbour]:
    found: list[Neighbour] = []
    async with Producer(address.url, prefix=address.prefix, timeout=60) as producer:
        await _good(producer, 50)
        for name, chosen in (*((name, (name,)) for name in NAMES), ("all", NAMES)):
            alone: list[float] = []
            taken: list[float] = []
            for _ in range(_TURNS):
                alone += await _good(producer, upserts // _TURNS)
                sending = asyncio.create_task(_poison(address, chosen))
                taken += await _good(producer, upserts // _TURNS)
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
            (p50, p99), (alone_p50, alone_p99) = _ranked(taken), _ranked(alone)
            found.append(Neighbour(name, len(taken), p50, p99, max(taken), alone_p50, alone_p99))
        await store.heal()
    return found


def _ranked(taken: list[float]) -> tuple[float, float]:
    ranked = statistics.quantiles(taken, n=100, method="inclusive")
    return ranked[49], ranked[98]


async def _good(producer: Producer, upserts: int) -> list[float]:
    numbers = iter(range(upserts))
    taken: list[float] = []

    async def write(own: Iterator[int]) -> None:
        for number in own:
            began = time.perf_counter()
            await producer.upsert(GOOD, [(number, [0.5] * DIMENSIONS)], wait=True)
            taken.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(write(numbers) for _ in range(_AT_A_TIME)))
    return taken


async def _poison(address: Address, chosen: tuple[str, ...]) -> None:
    """Publish to the collections that fail until cancelled."""
    number = 0
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(Names(address.prefix).commands, ensure=False)
        while chosen:
            for name in chosen:
                if name == HEAVY and number >= _HEAVY:
                    continue
                operation, body = bodies(name, number)
                message = aio_pika.Message(
                    body, content_type=headers.JSON, priority=headers.PRIORITY, delivery_mode=headers.PERSISTENT
                )
                await exchange.publish(message, f"{operation}.{name}")
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)
