"""Removal of a tenant: what the receipt counts, what remains of others, and what becomes of messages in transit."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aio_pika
import pytest

from memq import Producer
from memq_schemas import Names, headers
from memq_schemas.tenants import TenantNames
from tests.support.broker import depth, take
from tests.support.tenants import Tenants, tenants_of
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from memq.changes import Row
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

SHARED = "[shared.notes]\nsize = 2"
STORAGE = 'storage = "shared"'
POINTS = 30


@pytest.fixture
def tenants(amqp: Address, engine: EmbeddedEngine, tmp_path: Path) -> Iterator[Tenants]:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    with tenants_of(amqp, tmp_path, engine.url) as made:
        made.settings["store_timeout_seconds"] = 2  # a removal waits so long for writes that have begun
        yield made


def row(number: int) -> Row:
    return {"id": number, "vector": [1.0, float(number)]}


def receipt(told: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in told.splitlines())


@asynccontextmanager
async def producers(tenants: Tenants) -> AsyncIterator[tuple[Producer, Producer, Producer]]:
    """acme's, beta's and the operator's."""
    async with (
        Producer(tenants.url("acme"), tenant="acme") as acme,
        Producer(tenants.url("beta"), tenant="beta") as beta,
        Producer(tenants.amqp.url, prefix=tenants.amqp.prefix) as operator,
    ):
        yield acme, beta, operator


@pytest.mark.parametrize("declared", ["declared", pytest.param("no longer declared", marks=pytest.mark.slow)])
async def test_points_in_shared_collections_go_and_those_of_others_stay(tenants: Tenants, declared: str) -> None:
    """Also where the collection left the file together with its tenant."""
    tables = {"acme": STORAGE, "beta": STORAGE}
    tenants.write("acme", "beta", extra=SHARED, tables=tables)
    tenants.ok("apply")
    stop = asyncio.Event()

    async def keep_writing(beta: Producer) -> int:
        number = 0
        while not stop.is_set():
            await beta.upsert("notes", [row(number)], wait=True)
            number += 1
        return number

    with running_worker(tenants.amqp, **tenants.settings):
        async with producers(tenants) as (acme, beta, operator):
            await acme.upsert("notes", [row(number) for number in range(POINTS)], wait=True)
            writing = asyncio.create_task(keep_writing(beta))
            await until(lambda: notes(beta))
            if declared == "declared":
                tenants.write("beta", extra=SHARED, tables=tables)
            else:
                stop.set()
                await writing
                tenants.write("beta")  # whose storage is its own from now on
            told = receipt(await asyncio.to_thread(tenants.ok, "remove", "acme", "--yes"))
            stop.set()
            written = await writing
            assert told["points"] == f"{POINTS} deleted, and 0 collections of its own"
            assert (await operator.count("notes", exact=True)).count == written


async def test_a_collection_that_only_looks_like_the_tenant_s_stays(tenants: Tenants) -> None:
    """A name that merely begins alike, and a shared collection declared under the tenant's name after it has gone."""
    tenants.write("acme", "beta")
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings):
        async with producers(tenants) as (acme, _, operator):
            for name in ("acme-2.notes", "acmenotes"):
                await operator.collections.create(name, size=2)
            await acme.collections.create("mine", size=2)
            tenants.write("beta", extra='[shared."acme.docs"]\nsize = 2')
            tenants.ok("apply")
            await until(lambda: has(operator, "acme.docs"))
            told = receipt(await asyncio.to_thread(tenants.ok, "remove", "acme", "--yes"))
            assert told["points"] == "0 deleted, and 1 collections of its own"
            assert set((await operator.collections.list()).names) == {"acme-2.notes", "acmenotes", "acme.docs"}


async def notes(producer: Producer) -> int:
    return (await producer.count("notes", exact=True)).count


async def has(operator: Producer, name: str) -> bool:
    return name in (await operator.collections.list()).names


async def test_messages_that_wait_while_no_worker_runs_are_discarded_by_the_next_one(tenants: Tenants) -> None:
    """Messages in the shared lane and in a retry tier are discarded later too, and become no dead letters."""
    names, own = Names(tenants.amqp.prefix), TenantNames(tenants.amqp.prefix, "acme")
    tenants.write("acme", "beta")
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings):
        async with producers(tenants) as (acme, beta, _):
            await acme.collections.create("notes", size=2)
            await beta.collections.create("notes", size=2)
    async with producers(tenants) as (acme, beta, _):
        for number in range(POINTS):
            await acme.upsert("notes", [row(number)])
        await beta.upsert("notes", [row(1)])
    async with await aio_pika.connect(tenants.amqp.url) as connection:
        channel = await connection.channel()
        tier = await channel.get_exchange(names.retry(1, internal=True), ensure=False)
        marks = {headers.TENANT: "acme", headers.LANE: "tenants", headers.RETRY_COUNT: 1}
        await tier.publish(aio_pika.Message(b'{"points": []}', headers=marks), "upsert.notes")
        left = await channel.declare_queue(own.reply("left"), durable=True)
        await left.bind(await channel.declare_exchange(own.reply("front"), durable=True))
    tenants.write("beta")
    told = receipt(await asyncio.to_thread(tenants.ok, "remove", "acme", "--yes"))
    assert told["reply queues"] == "1 deleted, and 1 exchanges of the tenant's own"
    assert told["queues"] == "0 deleted, with 0 messages"
    again = receipt(await asyncio.to_thread(tenants.ok, "remove", "acme", "--yes"))
    assert {line.split()[0] for what, line in again.items() if what != "retries and late redeliveries"} == {"0"}
    tenants.write("beta")
    tenants.ok("apply")
    with running_worker(tenants.amqp, **tenants.settings) as worker:
        async with Producer(tenants.url("beta"), tenant="beta") as beta:

            async def emptied() -> bool:
                queues = (names.tenants_write, names.retry(1, internal=True))
                return sum([await depth(tenants.amqp, queue) for queue in queues]) == 0

            await until(emptied)
            await until(lambda: notes(beta))
            discarded = len(worker.logged("message of a removed tenant discarded", tenant="acme"))
        async with Producer(tenants.amqp.url, prefix=tenants.amqp.prefix) as operator:
            assert (await operator.collections.list()).names == ["beta.notes"]
    assert discarded >= 1
    assert [(m.headers, m.body) for m in await take(tenants.amqp, names.dead)] == []
