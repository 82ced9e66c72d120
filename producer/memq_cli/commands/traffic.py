from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import figures, options
from memq_cli.interrupt import stopping
from memq_cli.load.arrivals import Arrivals
from memq_cli.load.mix import DEFAULT, Mix
from memq_cli.load.points import Points
from memq_cli.load.record import Record
from memq_cli.load.session import BAD, Session, own_collection
from memq_cli.options import Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import emit, notice
from memq_cli.run import run
from memq_cli.status import status

if TYPE_CHECKING:
    from memq.producer import Producer

MOST_AT_ONCE = 256
TIMES_KEPT = 10_000


def traffic(
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second.")] = 20.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Duration. [default: until Ctrl-C]")] = None,
    mix: Annotated[str, typer.Option(metavar="OPERATION=PARTS,...", help="What is sent.")] = DEFAULT,
    bad: Annotated[float, typer.Option(min=0, max=1, help="Share of invalid requests.")] = 0.005,
    collection: Annotated[str, typer.Option("--collection", "-c", help="Created if it is missing.")] = "memq-traffic",
    size: Annotated[int, typer.Option(min=1, help="Dimensions.")] = 384,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, help="Points in an upsert.")] = 10,
    keys: Annotated[int, typer.Option(min=1, help="Points to write, over and over.")] = 10_000,
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the collection afterwards.")] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Send generated requests of every kind at a steady rate, so that dashboards have something to show.

    A write's time is until the broker's confirm, a question's until the answer. A small share is wrong on purpose:
    wrong dimensions, a collection that is not there. The refused writes among them end in the dead-letter queue.

    \b
    memq traffic
    memq traffic --rate 200 --seconds 60 --mix upsert=80,query=20 --bad 0
    """
    target = Target(url, prefix, timeout, json, tenant)
    try:
        chosen = Mix(mix)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--mix") from None
    points, record = Points(size, keys), Record(keep=TIMES_KEPT)

    async def send(producer: Producer) -> None:
        session = Session(producer, collection, points, record, batch=batch_size, applied=False)

        async def request(due: float) -> None:
            await (session.bad(due) if chosen.happens(bad) else session.request(chosen.next(), due))

        with stopping() as stop:
            async with own_collection(producer, collection, points, keep=keep) as made:
                notice(f"memq: {rate:,g} requests a second to {collection}{' (made)' if made else ''}, Ctrl-C ends it")
                arrivals = Arrivals(rate, seconds, request, MOST_AT_ONCE)
                began = asyncio.get_running_loop().time()
                async with status(record, lambda: f"{arrivals.late:.1f} s late, " if arrivals.late > 1 else ""):
                    record.not_sent(await arrivals.run(stop))
                took = asyncio.get_running_loop().time() - began
        summary = record.summary(took)
        if target.json:
            emit(figures.document(summary))
        else:
            figures.show(summary)
            if record.requests[BAD]:
                notice(f"memq: {record.requests[BAD]:,} requests were invalid on purpose")

    run(target, send)
