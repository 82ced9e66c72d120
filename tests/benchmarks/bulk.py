"""What `memq upsert FILE` costs in CPU and memory, for files of two sizes: python -m tests.benchmarks.bulk

The broker takes the messages and forgets them, so that no worker's or disk's time is in it. The smaller run is
subtracted, so that starting Python is not in it either.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import aio_pika
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from memq_schemas import Names
from stack.broker import found
from tests.benchmarks.load import DIMENSIONS, TEXT
from tests.support.broker import own_address
from tests.support.command import Memq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.broker import Address

PIECE = 10_000

# The command, which then tells of itself: wait4's ru_maxrss has the memory of the parent in it.
_MEASURED = """
import atexit, os, sys
from memq_cli import main
from tests.support.processes import peak_rss_mib
atexit.register(lambda: print(sum(os.times()[:2]), peak_rss_mib(os.getpid()), file=sys.stderr))
main()
"""


@dataclass(frozen=True, slots=True)
class Run:
    """CPU in seconds, user and system; the most resident memory in MiB; what the command printed with --json."""

    cpu: float
    peak: float
    told: dict[str, Any]


async def sink(address: Address) -> None:
    """A queue that confirms every write and keeps the last one."""
    names = Names(address.prefix)
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(names.commands, "topic", durable=True)
        queue = await channel.declare_queue(names.write, durable=True, arguments={"x-max-length": 1})
        await queue.bind(exchange, "upsert.#")


def upload(address: Address, file: Path, *arguments: str) -> Run:
    memq = Memq(address, file.parent)
    command = memq.line("upsert", file, "-c", "bulk", "--json", *arguments)[1:]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command],
        env=memq.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, peak = done.stderr.splitlines()[-1].split()
    return Run(float(cpu), float(peak), json.loads(done.stdout))


def pieces(points: int, dimensions: int = DIMENSIONS) -> Iterator[Any]:
    """Record batches: ids that count up, vectors, a text of about 200 bytes and four small columns."""
    generator = np.random.default_rng(5)
    for start in range(0, points, PIECE):
        numbers = range(start, min(start + PIECE, points))
        vectors = generator.standard_normal(len(numbers) * dimensions).astype("<f4")
        yield pa.record_batch(
            {
                "id": pa.array(numbers, pa.uint64()),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), dimensions),
                "text": pa.array([TEXT] * len(numbers)),
                "user": pa.array([f"u{n % 50}" for n in numbers]),
                "kind": pa.array(["note"] * len(numbers)),
                "n": pa.array(numbers),
                "open": pa.array([True] * len(numbers)),
            }
        )


def parquet(path: Path, points: int, dimensions: int = DIMENSIONS) -> Path:
    """In one row group, however many: the hardest to read in little memory."""
    table = pa.Table.from_batches(pieces(points, dimensions))
    path = path.with_suffix(".parquet")
    pq.write_table(table, path, row_group_size=points)
    return path


def ipc(path: Path, points: int) -> Path:
    path = path.with_suffix(".arrow")
    batches = pieces(points)
    first = next(batches)
    with pa.ipc.new_file(path, first.schema) as file:
        file.write_batch(first)
        for batch in batches:
            file.write_batch(batch)
    return path


def npy(path: Path, points: int) -> Path:
    path = path.with_suffix(".npy")
    np.save(
        path,
        np.concatenate([batch.column("vector").flatten().to_numpy() for batch in pieces(points)]).reshape(points, -1),
    )
    return path


def jsonl(path: Path, points: int) -> Path:
    path = path.with_suffix(".jsonl")
    with path.open("wb") as file:
        for batch in pieces(points):
            rows = batch.drop_columns(["vector"]).to_pylist()
            vectors = batch.column("vector").flatten().to_numpy().reshape(batch.num_rows, -1)
            for row, vector in zip(rows, vectors, strict=True):
                file.write(orjson.dumps({**row, "vector": vector}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    return path


KINDS: dict[str, Callable[[Path, int], Path]] = {"parquet": parquet, "arrow": ipc, "npy": npy, "jsonl": jsonl}


def main(
    points: Annotated[int, typer.Option(min=1000, help="Of the larger file; the smaller has a fifth.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    kinds: Annotated[str, typer.Option(help="With commas between them.")] = ",".join(KINDS),
    arguments: Annotated[str, typer.Option(help="More for `memq upsert`, like --zstd.")] = "",
) -> None:
    with found() as broker, tempfile.TemporaryDirectory(prefix="memq-bulk-") as place:
        for kind in kinds.split(","):
            for _ in range(rounds):
                runs: list[Run] = []
                for size in (points // 5, points):
                    file = KINDS[kind](Path(place) / "points", size)
                    with own_address(broker) as address:
                        asyncio.run(sink(address))
                        runs.append(upload(address, file, *arguments.split()))
                    file.unlink()
                small, large = runs
                assert large.told["points"] == points
                cost = (large.cpu - small.cpu) / (points - points // 5) * 1e6
                sys.stdout.write(
                    f"{kind:8} {cost:6.1f} µs a point, {large.told['points_per_second']:8,.0f} points per second, "
                    f"peak {small.peak:.0f} MiB for {points // 5:,} points and {large.peak:.0f} MiB for {points:,}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
