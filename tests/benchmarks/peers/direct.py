"""No queue: the official client writes straight into Qdrant, as its documentation shows. Prints what it took."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import shared

if TYPE_CHECKING:
    from collections.abc import Callable

IN_FLIGHT = 4


def upload_points(batches: list[list[dict[str, Any]]]) -> None:
    points = (point for batch in batches for point in shared.structs(batch))
    shared.client().upload_points(shared.COLLECTION, points, batch_size=100, wait=True)


def upload_collection(batches: list[list[dict[str, Any]]]) -> None:
    points = [point for batch in batches for point in batch]
    shared.client().upload_collection(
        shared.COLLECTION,
        vectors=np.array([point["vector"] for point in points], dtype=np.float32),
        ids=[point["id"] for point in points],
        payload=[point["payload"] for point in points],
        batch_size=100,
        wait=True,
    )


def upsert_async(batches: list[list[dict[str, Any]]]) -> None:
    async def main() -> None:
        qdrant = shared.async_client()
        waiting = iter(batches)

        async def stream() -> None:
            for batch in waiting:
                await qdrant.upsert(shared.COLLECTION, shared.structs(batch), wait=True)

        await asyncio.gather(*(stream() for _ in range(IN_FLIGHT)))

    asyncio.run(main())


WAYS: dict[str, Callable[[list[list[dict[str, Any]]]], None]] = {
    way.__name__: way for way in (upload_points, upload_collection, upsert_async)
}


def main() -> None:
    batches = list(shared.batches())
    began, spent = time.perf_counter(), time.process_time()
    WAYS[sys.argv[1]](batches)
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - spent}))  # noqa: T201


main()
