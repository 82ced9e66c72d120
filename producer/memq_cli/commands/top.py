from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from memq_process.signals import until_terminated
from rich.console import Console
from rich.live import Live

from memq.connection.address import brokers
from memq_cli import options
from memq_cli.failures import FAILED
from memq_cli.interrupt import stopping
from memq_cli.options import Json, Prefix, Target, Tenant, Url
from memq_cli.output import emit
from memq_cli.run import reported
from memq_cli.screen import picture
from memq_cli.top.broker import Broker
from memq_cli.top.exposition import DEFAULT, metrics_url
from memq_cli.top.keys import quit_key
from memq_cli.top.watch import Watch

if TYPE_CHECKING:
    from rich.console import RenderableType

    from memq_cli.top.frame import Frame

WIDTH = 100


def top(
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="MEMQ_METRICS_URLS",
            help=f"Metrics address of a worker pool; repeat it for each pool. [default: {DEFAULT}]",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two readings.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one picture and exit; the default without a terminal.")
    ] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
) -> None:
    """Watch queues and workers: problems first, then rates, depth, age, latency and errors.

    With tenants, a row shows each tenant's traffic and the limits that it reached; --tenant shows one of them.

    Reads the metrics of the worker pools and the queues of the broker. A source that cannot be read is named. Rates and
    latencies cover the last ten seconds. q or Ctrl-C ends it.

    \b
    memq top
    memq top --metrics http://10.0.0.5:9464/metrics --metrics http://10.0.0.6:9464/metrics
    memq top --once --json
    """
    target = Target(url, prefix, 1.0, json, tenant)
    try:
        urls = [metrics_url(text) for text in metrics or [DEFAULT]]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--metrics") from None
    console = Console(highlight=False)
    broker = Broker(brokers(target.url, "memq top", fast=False), prefix)
    watch = Watch(list(dict.fromkeys(urls)), broker, tenant or None)
    if not (once or json) and console.is_terminal:
        with reported():
            asyncio.run(until_terminated(_live(watch, broker, interval, console)))
        return
    with reported():
        found = asyncio.run(until_terminated(_once(watch, broker, interval)))
    if json:
        emit(found)
    else:
        console.print(_picture(found, console), width=console.width if console.is_terminal else WIDTH)
    if found.dark:
        raise typer.Exit(FAILED)


async def _once(watch: Watch, broker: Broker, interval: float) -> Frame:
    try:
        found = await watch.look()
        if found.workers:
            # One reading has no rates.
            await asyncio.sleep(interval)
            found = await watch.look()
        return found
    finally:
        await broker.close()


async def _live(watch: Watch, broker: Broker, interval: float, console: Console) -> None:
    with stopping() as stop, quit_key(stop) as reads_keys:
        keys = "q quits" if reads_keys else None
        try:
            first = _picture(await watch.look(), console, keys)
            with Live(first, console=console, screen=True, auto_refresh=False) as live:
                while not stop.is_set():
                    try:
                        async with asyncio.timeout(interval):
                            await stop.wait()
                    except TimeoutError:
                        live.update(_picture(await watch.look(), console, keys), refresh=True)
        finally:
            await broker.close()


def _picture(found: Frame, console: Console, keys: str | None = None) -> RenderableType:
    height = None if keys is None else console.height
    return picture(found, datetime.now().astimezone(), height=height, keys=keys)
