"""`memq dead` on what every sender leaves behind when nothing but the message itself is given."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pika
import pyarrow
import pytest

from memq import Producer
from memq_schemas import Names
from tests.support.broker import depth
from tests.support.command import Memq
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

# What other clients send: nothing, what a tutorial shows, and what AMQP allows.
FOREIGN: dict[str, dict[str, Any]] = {
    "none": {},
    "tutorial": {"delivery_mode": 2},
    "content-type": {"content_type": "application/json"},
    "empty-headers": {"headers": {}},
    "empty-texts": {"correlation_id": "", "message_id": "", "type": "", "app_id": "", "reply_to": ""},
    "own-headers": {"headers": {"tenant": "a", "when": datetime(2026, 1, 2, tzinfo=UTC), "none": None}},
    "odd": {"priority": 255, "delivery_mode": 1, "timestamp": 0, "type": "order", "app_id": "shop", "cluster_id": "c"},
    "long": {"correlation_id": "c" * 255, "message_id": "m" * 255},
}


def _publish_foreign(address: Address, collection: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(address.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for number, properties in enumerate(FOREIGN.values()):
            body = orjson.dumps({"points": [{"id": 100 + number, "vector": [1.0, 2.0]}]})
            channel.basic_publish(
                f"{address.prefix}.commands", f"upsert.{collection}", body, pika.BasicProperties(**properties)
            )
        # Without a worker's copy: what the broker itself dead-letters looks like this, but for x-death.
        body = orjson.dumps({"points": [{"id": 100 + len(FOREIGN), "vector": [1.0, 2.0]}]})
        channel.basic_publish(Names(address.prefix).dead, f"upsert.{collection}", body)


async def _publish_producer(address: Address, collection: str) -> int:
    async with Producer(address.url, prefix=address.prefix) as memq:
        await memq.upsert(collection, [{"id": 1, "vector": [1.0, 2.0]}])
        await memq.upsert(collection, [(2, [1.0, 2.0]), (3, [1.0, 2.0])])
        await memq.upsert(collection, ids=[4, 5], vectors=[[1.0, 2.0], [3.0, 4.0]])
        await memq.upsert(collection, pyarrow.table({"id": [6, 7], "vector": [[1.0, 2.0], [3.0, 4.0]]}))
        await memq.delete(collection, [999])
        await memq.delete(collection, filter={"must": [{"key": "k", "match": {"value": 1}}]})
        await memq.set_payload(collection, [1], set={"k": 1})
    return 7


@pytest.fixture(params=["fast", pytest.param("stock", marks=pytest.mark.slow)])
def memq(request: pytest.FixtureRequest, amqp: Address, tmp_path: Path) -> Iterator[Memq]:
    with running_worker(amqp, data_dir=tmp_path / "store", transport=request.param):
        command = Memq(amqp)
        command.environ["MEMQ_TRANSPORT"] = request.param
        command.environ["MEMQ_AMQP_URL"] = amqp.url
        yield command


async def test_every_command_takes_what_every_sender_leaves_by_default(
    memq: Memq, amqp: Address, tmp_path: Path
) -> None:
    letters = await _publish_producer(amqp, "missing")
    (tmp_path / "points.jsonl").write_text('{"id": 8, "vector": [1.0, 2.0]}\n')
    await asyncio.to_thread(memq.ok, "upsert", tmp_path / "points.jsonl", "-c", "missing")
    await asyncio.to_thread(_publish_foreign, amqp, "missing")
    letters += 1 + len(FOREIGN) + 1

    async def all_dead() -> bool:
        return await depth(amqp, Names(amqp.prefix).dead) == letters

    await until(all_dead)
    listed = await asyncio.to_thread(memq.json, "dead", "list")
    assert listed["codes"] == {"unknown_collection": letters - 1, "unknown": 1}
    assert {letter["collection"] for letter in listed["letters"]} == {"missing"}
    for number in (1, letters // 2, letters):
        shown = await asyncio.to_thread(memq.json, "dead", "show", number)
        assert shown["routing_key"].endswith(".missing")
        await asyncio.to_thread(memq.ok, "dead", "show", number)
    # The payload change could be ahead of its point: a worker's look at the queue's head changes the order.
    purged = await asyncio.to_thread(memq.json, "dead", "purge", "--op", "delete", "--op", "payload", "--yes")
    assert purged["done"] == 3

    await asyncio.to_thread(memq.ok, "collections", "create", "missing", "--size", "2")
    replayed = await asyncio.to_thread(memq.json, "dead", "replay")
    assert (replayed["done"], replayed["unroutable"]) == (letters - 3, 0)

    async def all_applied() -> bool:
        return (await asyncio.to_thread(memq.json, "count", "-c", "missing"))["count"] == 8 + len(FOREIGN) + 1

    await until(all_applied)
    left = await asyncio.to_thread(memq.json, "dead", "list")
    assert [(letter["operation"], letter["code"]) for letter in left["letters"]] == []
