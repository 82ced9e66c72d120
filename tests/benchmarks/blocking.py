"""CPU of the blocking Producer beside the async one, in microseconds a call: python -m tests.benchmarks.blocking

One point a call and one call at a time, confirmed by a broker that then forgets the message. The two take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from typing import TYPE_CHECKING

from memq import Producer, blocking
from stack.broker import found
from tests.benchmarks.bulk import sink
from tests.support.broker import own_address

if TYPE_CHECKING:
    from collections.abc import Callable

VECTOR = [1.0, 0.5, 0.25]
WARM_UP = 200


def cpu_seconds() -> float:
    return sum(os.times()[:2])


def in_async(url: str, calls: int) -> float:
    async def run() -> float:
        async with Producer(url) as producer:
            began = 0.0
            for number in range(WARM_UP + calls):
                if number == WARM_UP:
                    began = cpu_seconds()
                await producer.upsert("docs", [(number, VECTOR)])
            return cpu_seconds() - began

    return asyncio.run(run())


def in_blocking(url: str, calls: int) -> float:
    with blocking.Producer(url) as producer:
        began = 0.0
        for number in range(WARM_UP + calls):
            if number == WARM_UP:
                began = cpu_seconds()
            producer.upsert("docs", [(number, VECTOR)])
        return cpu_seconds() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ways: dict[str, Callable[[str, int], float]] = {"async": in_async, "blocking": in_blocking}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    with found() as broker, own_address(broker) as address:
        asyncio.run(sink(address))
        for _ in range(options.rounds):
            for name, way in ways.items():
                spent[name].append(way(address.url, options.calls) / options.calls * 1e6)
    for name, each in spent.items():
        sys.stdout.write(f"{name:10} {statistics.median(each):.0f} µs a call, {min(each):.0f} to {max(each):.0f}\n")


if __name__ == "__main__":
    main()
