from __future__ import annotations

import asyncio
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import figures, options
from memq_cli.failures import INTERRUPTED, OK, THRESHOLD
from memq_cli.interrupt import stopping
from memq_cli.load.arrivals import Arrivals
from memq_cli.load.points import Points
from memq_cli.load.record import Record
from memq_cli.load.session import Session, own_collection
from memq_cli.load.stages import MOST_USERS, Stage, parse_stages, total_seconds
from memq_cli.load.thresholds import ERROR_PERCENT, P95_MS, thresholds
from memq_cli.load.users import Users
from memq_cli.options import Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import emit, notice
from memq_cli.run import run
from memq_cli.status import status
from memq_schemas import Operation

if TYPE_CHECKING:
    from memq.producer import Producer

STAGES = "10s:10,20s:50,20s:50"
OPEN_LOOP_MOST = 1000
KEYS = 10_000


def load(
    stages: Annotated[
        str | None,
        typer.Option(metavar="TIME:USERS,...", help=f"How the number of users changes. [default: {STAGES}]"),
    ] = None,
    users: Annotated[
        int | None, typer.Option(min=1, max=MOST_USERS, help="This many users all the time, for --seconds.")
    ] = None,
    open_loop: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="RATE", help="Requests a second by the clock, for --seconds, instead of users."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long, with --users or --open-loop.")] = 30.0,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between a user's turns.")] = 0.0,
    p95_ms: Annotated[float, typer.Option("--p95", min=0, metavar="MS", help="Fail at this or more.")] = P95_MS,
    errors: Annotated[float, typer.Option(min=0, metavar="PERCENT", help="Fail at this or more.")] = ERROR_PERCENT,
    collection: Annotated[str, typer.Option("--collection", "-c", help="Created if it is missing.")] = "memq-load",
    size: Annotated[int, typer.Option(min=1, help="Dimensions.")] = 384,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, help="Points in an upsert.")] = 10,
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the collection afterwards.")] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Find out what latency many users see, and whether it is good enough.

    Each user upserts points, waits until they are applied, queries, and begins again; their number goes from 10 to 50.
    With --open-loop requests are due by the clock and their time counts from then, so that a stall is seen in full.
    Exits with 4 when a threshold is crossed.

    \b
    memq load
    memq load --stages 30s:10,1m:100,1m:100 --p95 300
    memq load --users 20 --seconds 60 --json
    memq load --open-loop 200 --seconds 60
    """
    target = Target(url, prefix, timeout, json, tenant)
    plan = _plan(stages, users, open_loop, seconds)
    points, record = Points(size, KEYS), Record()
    ended: list[int] = []

    async def send(producer: Producer) -> None:
        session = Session(producer, collection, points, record, batch=batch_size, applied=True)
        with stopping() as stop:
            async with own_collection(producer, collection, points, keep=keep):
                began = asyncio.get_running_loop().time()
                if open_loop:
                    await _by_the_clock(session, record, open_loop, seconds, stop)
                else:
                    await _by_users(session, record, plan, pause, stop)
                took = asyncio.get_running_loop().time() - began
            interrupted = stop.is_set()
        summary = record.summary(took)
        found = thresholds(summary, p95_ms, errors)
        if target.json:
            emit(figures.document(summary, found))
        else:
            figures.show(summary, found)
        if interrupted:
            notice("memq: interrupted")
            ended.append(INTERRUPTED)
        else:
            ended.append(OK if all(threshold.met for threshold in found) else THRESHOLD)

    run(target, send)
    raise typer.Exit(ended[0])


def _plan(stages: str | None, users: int | None, open_loop: float | None, seconds: float) -> tuple[Stage, ...]:
    if sum(given is not None for given in (stages, users, open_loop)) > 1:
        raise typer.BadParameter("give at most one of --stages, --users and --open-loop")
    if users is not None:
        return (Stage(seconds, users),)
    try:
        return parse_stages(stages or STAGES)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--stages") from None


async def _by_users(
    session: Session, record: Record, plan: tuple[Stage, ...], pause: float, stop: asyncio.Event
) -> None:
    users = Users(plan, session.upsert_and_query, pause)
    most = max(stage.users for stage in plan)
    notice(f"memq: up to {most:,} users for {total_seconds(plan):,.0f} s")
    async with status(record, lambda: f"{users.present:,} users, "):
        await users.run(stop)


async def _by_the_clock(session: Session, record: Record, rate: float, seconds: float, stop: asyncio.Event) -> None:
    turns = cycle((Operation.UPSERT, Operation.QUERY))
    arrivals = Arrivals(rate, seconds, lambda due: session.request(next(turns), due), OPEN_LOOP_MOST)
    notice(f"memq: {rate:,g} requests a second for {seconds:,g} s")
    async with status(record, partial(str, "")):
        record.not_sent(await arrivals.run(stop))
