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
# Sparse vectors have NON_ZEROS numbers.
Form = Literal["arrow", "base64", "lists", "one version", "versions", "sparse lists", "sparse base64", "sparse arrow"]
SPARSE = "words"  # name of the sparse vectors
NON_ZEROS = 100

_WINDOW = 500


def bodies(messages: int, points: int, form: Form, seed: int = 1, first: int = 0) -> Iterator[bytes]:
    """Upsert bodies. Ids count up from `first`, so that every point of a run is another one."""
    generator = np.random.default_rng(seed)
    for message in range(messages):
        sparse = form.startswith("sparse")
        vectors = generator.standard_normal((points, NON_ZEROS if sparse else DIMENSIONS)).astype("<f4")
        indices = (np.arange(NON_ZEROS) * 300 + generator.integers(0, 300, (points, NON_ZEROS))).astype("<u4")
        rows: list[dict[str, Any]] = []
        for index, vector in enumerate(vectors):
            number = first + message * points + index
            written = _written(vector, form)
            row = {
                "id": str(uuid.UUID(int=number + (1 << 100))),
                "vector": {SPARSE: {"indices": _written(indices[index], form), "values": written}}
                if sparse
                else written,
                "payload": {"text": TEXT, "user": f"u{number % 50}", "kind": "note", "n": number, "open": True},
            }
            if form in ("one version", "versions"):
                row["version"] = (message if form == "one version" else number) + 1
            rows.append(row)
        yield (
            _stream(rows, vectors, indices if sparse else None)
            if form.endswith("arrow")
            else orjson.dumps({"points": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
        )


def _written(numbers: Any, form: Form) -> Any:
    return base64.b64encode(numbers.tobytes()).decode() if "base64" in form or "version" in form else numbers


def _stream(rows: list[dict[str, Any]], vectors: Any, indices: Any) -> bytes:
    columns = {
        "id": pa.array([uuid.UUID(row["id"]).bytes for row in rows], pa.binary(16)),
        **(_dense(vectors) if indices is None else _sparse(indices, vectors)),
        "payload": pa.array([orjson.dumps(row["payload"]).decode() for row in rows]),
    }
    batch: Any = pa.record_batch(columns)
    sink: Any = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _dense(vectors: Any) -> dict[str, Any]:
    return {"vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS)}


def _sparse(indices: Any, values: Any) -> dict[str, Any]:
    offsets = pa.array(np.arange(0, values.size + 1, NON_ZEROS, dtype="i4"))
    lists = [pa.ListArray.from_arrays(offsets, pa.array(each.reshape(-1))) for each in (indices, values)]
    return {f"vector.{SPARSE}": pa.StructArray.from_arrays(lists, ["indices", "values"])}


async def publish(url: str, exchange: str, routing_key: str, messages: Iterator[bytes], form: Form = "base64") -> int:
    """Publishes with confirms, some hundreds in flight. Returns how many bytes."""
    total = 0
    kind = headers.ARROW_STREAM if form.endswith("arrow") else headers.JSON
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
