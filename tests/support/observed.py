"""The whole of memq under a real Prometheus: broker, two workers, engine, and messages of every sort."""

from __future__ import annotations

import os
import re
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aio_pika
import grpc
import numpy as np
import yaml

from memq import Producer, RemoteError
from memq_schemas import Names
from stack.prometheus import CONFIGURATION, Programs, Prometheus, Series, prometheus
from stack.workers import workers
from tests.support.engine import embedded_engine
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from grafana.panel import Panel
    from stack.broker import Server
    from tests.support.engine import EmbeddedEngine

PROCESSES = 2
SECONDS = 100.0
# Long enough for all of a run: a rate is then above 0 for whatever has happened in it.
WINDOW = "10m"
DEAD = 3
HOURLY = re.compile(r"(memq:error_budget_left:ratio30d)\{[^}]*\}")
FAILURE = Fault(grpc.StatusCode.INTERNAL, "Service internal error: odd")

Values = list[list[Series]]


@dataclass(frozen=True, slots=True)
class Observed:
    """Nothing has been sent when it begins."""

    prometheus: Prometheus
    amqp_url: str
    metrics_url: str
    store: FaultyStore
    engine: EmbeddedEngine

    async def value(self, expression: str) -> float | None:
        """Of an expression with one series; None while it has none."""
        found = await self.prometheus.query(expression)
        return found[0].value if found else None

    async def panel(self, panel: Panel, window: str = WINDOW) -> Values:
        """The series of each of its queries. An hourly record is asked as the expression that it records."""
        return [await self.prometheus.query(each) for each in expressions(panel, window)]


def expressions(panel: Panel, window: str = WINDOW) -> list[str]:
    """Return a panel's expressions as Prometheus reads them, an hourly record as the expression that it records."""
    found = [substituted(query.expression, window) for query in panel.queries]
    if panel.recorded_hourly:
        found = [HOURLY.sub(lambda name: f"({records()[name[1]]})", each) for each in found]
    return found


def records() -> dict[str, str]:
    """Expressions of prometheus/recording.yml, by record."""
    groups = yaml.safe_load((CONFIGURATION.parent / "recording.yml").read_text("utf-8"))["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def substituted(expression: str, window: str = WINDOW) -> str:
    """Replace Grafana's variables by their defaults."""
    windows = expression.replace("$__rate_interval", window).replace("$__range", window)
    return re.sub(r"\$(cluster|vhost|prefix|job|instance|worker)\b", ".*", windows)


@asynccontextmanager
async def observed(server: Server, programs: Programs, home: Path) -> AsyncIterator[Observed]:
    """Everything that has a value has one when the block begins: each target and each rule was read several times."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
    async with AsyncExitStack() as stack:
        engine = stack.enter_context(embedded_engine(home / "vectors", flush_seconds=0.2))
        store = await stack.enter_async_context(faulty_store(engine.url))
        environ |= {"MEMQ_AMQP_URL": server.amqp_url, "MEMQ_QDRANT_URL": store.url, "MEMQ_MAX_ATTEMPTS": "2"}
        pool = await stack.enter_async_context(workers(PROCESSES, home, environ))
        broker = urlsplit(server.prometheus_url).netloc
        targets = {"memq": [urlsplit(pool.metrics_url).netloc], "rabbitmq": [broker], "rabbitmq-detailed": [broker]}
        watching = await stack.enter_async_context(prometheus(programs, home, targets, "2s"))
        seen = Observed(watching, server.amqp_url, pool.metrics_url, store, engine)
        await _all_read(seen)
        yield seen


async def _all_read(seen: Observed) -> None:
    async def scraped() -> bool:
        targets = await seen.value("count(min_over_time(up[4s]) == 1)")
        rules = await seen.value("count(count_over_time(memq:queue_drain:seconds[1m]) > 2)")
        # RabbitMQ counts its queues' messages and consumers every five seconds.
        queues = await seen.value('count(rabbitmq_detailed_queue_consumers{queue=~"memq.*"})')
        return targets == 4 and bool(rules) and bool(queues)

    await until(scraped, within=SECONDS, every=0.3)


async def load(seen: Observed) -> None:
    """Messages of every sort. Returns when Prometheus knows of all of them."""
    async with Producer(seen.amqp_url, timeout=30, name="memq panels") as producer:
        await producer.collections.create("docs", 4)
        await _right(producer)
        await _wrong(producer, seen)
        await _failing(producer, seen.store)

    async def told() -> bool:
        dead = await seen.value('memq:queue_messages_ready:sum{queue="dead"}')
        counted = await seen.value("sum(memq_dead_letters_total)")
        unread = await seen.value('sum(memq_replies_total{outcome="undeliverable"})')
        alert = await seen.value('ALERTS{alertname="MemqDeadLettered",alertstate="firing",code="malformed"}')
        return (dead, counted, unread, alert) == (DEAD, DEAD, 1, 1)

    await until(told, within=SECONDS, every=0.3)


async def _right(producer: Producer) -> None:
    for first in range(0, 100, 10):
        await producer.upsert("docs", ids=range(first, first + 10), vectors=np.ones((10, 4)), wait=True)
    await producer.upsert("docs", ids=range(2000), vectors=np.ones((2000, 4)), wait=True)
    await producer.upsert("docs", ids=range(5), vectors=np.ones((5, 4)), wait=True, lane="bulk")
    await producer.set_payload("docs", ids=[1, 2], set={"seen": True}, wait=True)
    await producer.delete("docs", ids=[3], wait=True)
    for _ in range(20):
        await producer.query("docs", [1.0, 0.0, 0.0, 0.0], limit=3)
    await producer.get("docs", [1, 2])
    await producer.count("docs")
    await producer.collections.list()
    await producer.collections.describe("docs")


async def _wrong(producer: Producer, seen: Observed) -> None:
    with suppress(RemoteError):
        await producer.query("docs", [1.0, 0.0])
    async with await aio_pika.connect(seen.amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(Names().commands, ensure=False)
        for body in (b"not json", b'{"points":[{"id":1,"vector":[1]}]}'):
            await exchange.publish(aio_pika.Message(body, content_type="application/json"), "upsert.docs")
        gone = aio_pika.Message(b"{}", content_type="application/json", reply_to="amq.gen-gone", correlation_id="1")
        await exchange.publish(gone, "count.docs")


async def _failing(producer: Producer, store: FaultyStore) -> None:
    store.fail("Upsert", FAILURE)
    await producer.upsert("docs", ids=[1], vectors=np.ones((1, 4)), wait=True)
    store.fail_always("Upsert", FAILURE)
    with suppress(RemoteError):
        await producer.upsert("docs", ids=[2], vectors=np.ones((1, 4)), wait=True)
    store.fail_always("Upsert", None)
