"""What the benchmarks publish: 384 dimensions, a payload of about 200 bytes of text and four small keys."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import TYPE_CHECKING, Any, Literal

import aio_pika
import numpy as np
import orjson

from memq_schemas import headers

if TYPE_CHECKING:
    from collections.abc import Iterator

DIMENSIONS = 384

Form = Literal["base64", "lists"]

_WINDOW = 500


def bodies(messages: int, points: int, form: Form, seed: int = 1) -> Iterator[bytes]:
    """Upsert bodies. Ids count up, so that every point of a run is another one."""
    generator = np.random.default_rng(seed)
    text = "a memory of about two hundred bytes, as people write them down. " * 3
    for message in range(messages):
        vectors = generator.standard_normal((points, DIMENSIONS)).astype("<f4")
        rows: list[dict[str, Any]] = []
        for index, vector in enumerate(vectors):
            number = message * points + index
            rows.append(
                {
                    "id": str(uuid.UUID(int=number + (1 << 100))),
                    "vector": base64.b64encode(vector.tobytes()).decode() if form == "base64" else vector,
                    "payload": {"text": text, "user": f"u{number % 50}", "kind": "note", "n": number, "open": True},
                }
            )
        yield orjson.dumps({"points": rows}, option=orjson.OPT_SERIALIZE_NUMPY)


async def publish(url: str, exchange: str, routing_key: str, messages: Iterator[bytes]) -> int:
    """Publishes with confirms, some hundreds in flight. Returns how many bytes."""
    total = 0
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False)
        window: set[asyncio.Task[Any]] = set()
        for body in messages:
            total += len(body)
            message = aio_pika.Message(
                body, delivery_mode=2, content_type=headers.JSON, priority=headers.PRIORITY, message_id=uuid.uuid4().hex
            )
            window.add(asyncio.create_task(target.publish(message, routing_key)))
            if len(window) >= _WINDOW:
                done, window = await asyncio.wait(window, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*window)
    return total
