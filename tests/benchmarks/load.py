"""What the benchmarks publish: 384 dimensions, a payload of about 200 bytes of text and four small keys."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import TYPE_CHECKING, Any, Literal

import aio_pika
import numpy as np
import orjson
import pyarrow as pa

from memq_schemas import headers

if TYPE_CHECKING:
    from collections.abc import Iterator

DIMENSIONS = 384
TEXT = "a memory of about two hundred bytes, as people write them down. " * 3

# With a version on every point, one a message or each its own, vectors are in base64.
Form = Literal["arrow", "base64", "lists", "one version", "versions"]

_WINDOW = 500


def bodies(messages: int, points: int, form: Form, seed: int = 1) -> Iterator[bytes]:
    """Upsert bodies. Ids count up, so that every point of a run is another one."""
    generator = np.random.default_rng(seed)
    for message in range(messages):
        vectors = generator.standard_normal((points, DIMENSIONS)).astype("<f4")
        rows: list[dict[str, Any]] = []
        for index, vector in enumerate(vectors):
            number = message * points + index
            row = {
                "id": str(uuid.UUID(int=number + (1 << 100))),
                "vector": vector if form in ("lists", "arrow") else base64.b64encode(vector.tobytes()).decode(),
                "payload": {"text": TEXT, "user": f"u{number % 50}", "kind": "note", "n": number, "open": True},
            }
            if form in ("one version", "versions"):
                row["version"] = (message if form == "one version" else number) + 1
            rows.append(row)
        yield (
            _stream(rows, vectors)
            if form == "arrow"
            else orjson.dumps({"points": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
        )


def _stream(rows: list[dict[str, Any]], vectors: Any) -> bytes:
    columns = {
        "id": pa.array([uuid.UUID(row["id"]).bytes for row in rows], pa.binary(16)),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS),
        "payload": pa.array([orjson.dumps(row["payload"]).decode() for row in rows]),
    }
    batch: Any = pa.record_batch(columns)
    sink: Any = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


async def publish(url: str, exchange: str, routing_key: str, messages: Iterator[bytes], form: Form = "base64") -> int:
    """Publishes with confirms, some hundreds in flight. Returns how many bytes."""
    total = 0
    kind = headers.ARROW_STREAM if form == "arrow" else headers.JSON
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False)
        window: set[asyncio.Task[Any]] = set()
        for body in messages:
            total += len(body)
            message = aio_pika.Message(
                body, delivery_mode=2, content_type=kind, priority=headers.PRIORITY, message_id=uuid.uuid4().hex
            )
            window.add(asyncio.create_task(target.publish(message, routing_key)))
            if len(window) >= _WINDOW:
                done, window = await asyncio.wait(window, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*window)
    return total
