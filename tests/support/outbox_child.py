"""A producer with an outbox, to be killed: says on its standard output what has been accepted, a line each.

Arguments: broker URL, prefix, outbox file, and the number that each key's values go on from, with commas between.
Every key has a writer of its own, so each key's values are sent one after the other while the keys share transactions.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from memq import Producer


async def write(memq: Producer, key: int, value: int) -> None:
    while True:
        value += 1
        receipt = await memq.upsert("docs", [{"id": key, "vector": [1.0], "payload": {"n": value}}])
        assert receipt.stored
        # One write to the pipe: it is there in full or not at all, whenever the process ends.
        os.write(1, b"%d %d\n" % (key, value))


async def main(url: str, prefix: str, path: str, values: str) -> None:
    async with Producer(url, prefix=prefix, outbox=path, timeout=1) as memq:
        os.write(1, b"open\n")
        await asyncio.gather(*(write(memq, key, int(value)) for key, value in enumerate(values.split(","))))


logging.disable(logging.CRITICAL)
asyncio.run(main(*sys.argv[1:]))
