"""Where a worker's time goes, by stage: samples of its stacks, taken from outside while it empties a full queue."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq_schemas import Names
from memq_worker.qdrant.client import open_store
from tests.benchmarks.compare import COLLECTION, PYTHON, create, stored
from tests.benchmarks.load import Form, bodies, publish
from tests.support.engine import embedded_engine
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

_SECONDS = 300.0
_RATE = 500

# The innermost frame that is listed decides.
_STAGES = (
    ("read frames", ("memq_amqp/", "aiormq/", "pamqp/", "_read_ready__get_buffer")),
    ("decode", ("pipeline/decode", "pipeline/points", "pipeline/arrow", "pipeline/payload", "pipeline/expand")),
    ("decode", ("pipeline/lists", "pipeline/keys", "memq_schemas/")),
    ("store: build and send", ("memq_worker/qdrant/", "grpc/", "qdrant_client/")),
    ("settle", ("pipeline/settle", "pipeline/outcome", "memq_worker/amqp/")),
    ("batch", ("memq_worker/pipeline/",)),
    ("logs and metrics", ("memq_worker/observe/", "logging/")),
)
_WAITING = ("select (selectors", "EpollSelector.select")


@dataclass(frozen=True, slots=True)
class Profile:
    form: Form
    points_per_message: int
    samples: int
    stages: list[tuple[str, float]]
    """Shares of the samples in which the worker was running."""
    places: list[tuple[str, float]]


async def profile(address: Address, directory: Path, form: Form, messages: int, points: int) -> Profile:
    """Raises RuntimeError when py-spy may not look into the worker."""
    stacks = directory / "stacks"
    with embedded_engine(directory / "profile") as engine:
        await create(engine)
        with running_worker(address, qdrant_url=engine.url) as worker:
            worker.terminate()
        names = Names(address.prefix)
        await publish(address.url, names.commands, f"upsert.{COLLECTION}", bodies(messages, points, form), form)
        with running_worker(address, qdrant_url=engine.url) as worker:
            command = [str(PYTHON.with_name("py-spy")), "record", "-f", "raw", "-r", str(_RATE), "-o", str(stacks)]
            spy = await asyncio.create_subprocess_exec(
                *command, "--pid", str(worker.process.pid), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            async with open_store(engine.url, None, 30.0) as store, asyncio.timeout(_SECONDS):
                while await stored(store, messages * points) != messages * points:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)  # the store has no event for it
            if spy.returncode is None:
                spy.send_signal(signal.SIGINT)
            _, said = await spy.communicate()
            worker.terminate()
    if not stacks.exists():
        raise RuntimeError(f"py-spy: {said.decode(errors='replace').strip()}")
    return _read(stacks, form, points)


def _read(stacks: Path, form: Form, points: int) -> Profile:
    stages: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        # Other threads, and the loop with nothing to do.
        if not any("run_forever" in frame for frame in frames) or any(name in frames[-1] for name in _WAITING):
            continue
        stages[_stage(frames)] += int(count)
        places[frames[-1]] += int(count)
    total = sum(stages.values()) or 1
    shares = [[(name, number / total) for name, number in counted.most_common(15)] for counted in (stages, places)]
    return Profile(form, points, total, shares[0], shares[1])


def _stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        for stage, places in _STAGES:
            if any(place in frame for place in places):
                return stage
    return "event loop"
