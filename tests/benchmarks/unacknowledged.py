"""The workers' gauge of unacknowledged messages beside RabbitMQ's own number, in a hold and a drain.

python -m tests.benchmarks.unacknowledged            prints the table; about three minutes
python -m tests.benchmarks.unacknowledged --write    puts it into docs/reference/dashboards.md
"""

from __future__ import annotations

import asyncio
import math
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import numpy as np
import typer

from memq import Producer
from stack.broker import NoBroker, Server, private
from stack.machine import say
from stack.prometheus import NoPrometheus, Programs, found
from tests.support.faults import Fault
from tests.support.observed import Observed, observed
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dashboards.md"
MARKS = re.compile(r"(?s)(<!-- unacknowledged -->\n).*(<!-- /unacknowledged -->)")
GAUGE = 'sum(memq_inflight_messages{queue="write"})'
BROKER = 'sum(rabbitmq_detailed_queue_messages_unacked{queue="memq.write"})'
READY = 'sum(rabbitmq_detailed_queue_messages_ready{queue="memq.write"})'
STEP = 5.0  # seconds: as often as RabbitMQ counts
MESSAGES = 1000
SECONDS = 120.0
DOWN = Fault(grpc.StatusCode.UNAVAILABLE, "connection refused")
QUESTIONS = ("Upsert", "Delete", "List")


def main(
    write: Annotated[bool, typer.Option("--write", help="Put the table into docs/reference/dashboards.md.")] = False,
) -> None:
    """Hold and drain under a real Prometheus that scrapes workers and broker every two seconds."""
    try:
        programs = found()
        with private() as (server, how), tempfile.TemporaryDirectory(prefix="memq-unacknowledged-") as home:
            say(f"memq: {how}")
            table = asyncio.run(_measured(server, programs, Path(home)))
    except (NoBroker, NoPrometheus) as error:
        say(str(error))
        raise typer.Exit(1) from error
    if write:
        PAGE.write_text(MARKS.sub(lambda mark: f"{mark[1]}{table}\n{mark[2]}", PAGE.read_text("utf-8")), "utf-8")
    else:
        typer.echo(table)


async def _measured(server: Server, programs: Programs, home: Path) -> str:
    phases: list[tuple[str, float]] = []
    async with observed(server, programs, home) as seen, Producer(seen.amqp_url, max_points_per_message=1) as producer:
        await producer.collections.create("docs", 4)
        began = time.time()
        phases.append(("hold", began))
        _fail(seen, DOWN)
        await _publish(producer)
        await _settled(seen, lambda gauge: gauge > 0)
        phases.append(("drain", time.time()))
        _fail(seen, None)
        await _settled(seen, lambda gauge: gauge == 0)
        end = time.time()
        curves = [await seen.prometheus.over(each, end, end - began, STEP) for each in (GAUGE, BROKER, READY)]
    return _table(phases, end, [curve[0].values for curve in curves], curves[0][0].times)


def _fail(seen: Observed, fault: Fault | None) -> None:
    for method in QUESTIONS:
        seen.store.fail_always(method, fault)


async def _publish(producer: Producer) -> None:
    await producer.upsert("docs", ids=range(MESSAGES), vectors=np.ones((MESSAGES, 4)))


async def _settled(seen: Observed, expected: Callable[[float], bool]) -> None:
    """Return once both numbers have been equal, as expected, for three counts of the broker."""

    async def steady() -> bool:
        window = f"{3 * STEP:.0f}s:1s"
        values = [
            await seen.value(f"{function}(({expression})[{window}])")
            for expression in (GAUGE, BROKER)
            for function in ("min_over_time", "max_over_time")
        ]
        return len(set(values)) == 1 and values[0] is not None and expected(values[0])

    await until(steady, within=SECONDS, every=1.0)


def _table(phases: list[tuple[str, float]], end: float, values: list[np.ndarray], times: np.ndarray) -> str:
    rows = [
        "| seconds | phase | `memq_inflight_messages` | RabbitMQ, unacknowledged | RabbitMQ, ready |",
        "|---|---|---|---|---|",
    ]
    began = phases[0][1]
    for moment, *numbers in zip(times, *values, strict=True):
        now = end + float(moment)
        phase = [name for name, start in phases if start <= now + STEP / 2][-1]
        cells = " | ".join("–" if math.isnan(number) else f"{number:.0f}" for number in numbers)
        rows.append(f"| {now - began:.0f} | {phase} | {cells} |")
    return "\n".join(rows)


if __name__ == "__main__":
    typer.run(main)
