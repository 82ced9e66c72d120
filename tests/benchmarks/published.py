"""What a point costs the process that publishes it, until the broker has confirmed it. No worker runs."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import aio_pika
import numpy as np

from memq import PointRow, Producer
from memq_schemas import Names
from tests.benchmarks.load import DIMENSIONS, TEXT
from tests.support.responder import declare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from memq.connection.transport import Transport
    from tests.support.broker import Address

Way = Literal["columns", "rows", "single"]
WAYS: tuple[Way, ...] = get_args(Way)

CALLS_AT_ONCE = 256

# More at a time would measure how the broker takes a long queue.
_QUEUED = 20_000


@dataclass(frozen=True, slots=True)
class Published:
    """cpu: microseconds a point of the publishing process.   way: how the points were given to `Producer.upsert`."""

    way: Way
    transport: Transport
    points: int
    points_per_second: float
    cpu: float


async def published(address: Address, way: Way, points: int, transport: Transport = "fast") -> Published:
    """columns and rows: one call of 100-point messages. single: a call for each point, 256 calls at once."""
    vectors = np.random.default_rng(3).standard_normal((points, DIMENSIONS)).astype("<f4")
    ids = [str(uuid.UUID(int=n + (1 << 100))) for n in range(points)]
    payloads = [{"text": TEXT, "user": f"u{n % 50}", "kind": "note", "n": n, "open": True} for n in range(points)]
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        await declare(channel, address.prefix)
        queue = await channel.get_queue(Names(address.prefix).write, ensure=False)
        seconds = spent = 0.0
        async with Producer(address.url, prefix=address.prefix, transport=transport) as producer:
            # What is made at the first message is not counted.
            await producer.upsert("bench", [(0, vectors[0])])
            for part in _parts(points):
                columns = (ids[part], vectors[part], payloads[part])
                began, before = time.perf_counter(), time.process_time()
                await _SENT[way](producer, *columns)
                spent += time.process_time() - before
                seconds += time.perf_counter() - began
                await queue.purge()
    return Published(way, transport, points, points / seconds, spent / points * 1e6)


def _parts(points: int) -> Iterator[slice]:
    for start in range(0, points, _QUEUED):
        yield slice(start, min(start + _QUEUED, points))


async def _columns(producer: Producer, ids: Any, vectors: Any, payloads: Any) -> None:
    await producer.upsert("bench", ids=ids, vectors=vectors, payloads=payloads)


async def _rows(producer: Producer, ids: Any, vectors: Any, payloads: Any) -> None:
    def rows() -> Iterator[PointRow]:
        for id_, vector, own in zip(ids, vectors, payloads, strict=True):
            yield {"id": id_, "vector": vector, "payload": own}

    await producer.upsert("bench", rows())


async def _single(producer: Producer, ids: Any, vectors: Any, payloads: Any) -> None:
    waiting = zip(ids, vectors, payloads, strict=True)

    async def caller() -> None:
        for id_, vector, payload in waiting:
            await producer.upsert("bench", [{"id": id_, "vector": vector, "payload": payload}])

    await asyncio.gather(*(caller() for _ in range(CALLS_AT_ONCE)))


_SENT: dict[Way, Callable[..., Awaitable[None]]] = {"columns": _columns, "rows": _rows, "single": _single}
