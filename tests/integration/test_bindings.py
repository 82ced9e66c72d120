"""An upgrade brings new operations, and a worker that declares nothing has to name the bindings that are missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import pytest
from memq_amqp import Connection
from memq_amqp.address import parse

from memq_schemas import Names, Operation, topology
from memq_worker.amqp.bindings import unbound
from memq_worker.amqp.declare import declare
from tests.support.broker import depth
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration


async def test_operations_without_a_binding_are_named(amqp: Address) -> None:
    names = Names(amqp.prefix)
    async with await aio_pika.connect(amqp.url) as raw:
        connection = Connection(raw, *parse(amqp.url))
        await declare(connection, topology(amqp.prefix), "always", 30)
        assert await unbound(connection, names, 30) == []
        async with raw.channel() as channel:
            queue = await channel.get_queue(names.query, ensure=False)
            for word in ("scroll", "alias"):
                await queue.unbind(names.commands, f"{word}.#")
        missing = await unbound(connection, names, 30)
        assert missing == [
            Operation.SCROLL,
            Operation.CREATE_ALIAS,
            Operation.SWITCH_ALIAS,
            Operation.DELETE_ALIAS,
            Operation.ALIASES,
        ]


async def test_a_worker_drops_the_probes_and_keeps_none_as_a_dead_letter(amqp: Address, tmp_path: Path) -> None:
    names = Names(amqp.prefix)
    # In a thread: waiting for the log blocks.
    context = running_worker(amqp, data_dir=tmp_path)
    worker = await asyncio.to_thread(context.__enter__)
    try:
        async with await aio_pika.connect(amqp.url) as raw:
            assert await unbound(Connection(raw, *parse(amqp.url)), names, 30) == []

        async def taken() -> bool:
            return [await depth(amqp, queue) for queue in (names.write, names.query)] == [0, 0]

        await until(taken, within=30)
        # A stop in order settles what was delivered.
        assert await asyncio.to_thread(worker.terminate) == 0
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    assert {line["outcome"] for line in worker.logged("delivery not applied")} == {"expired"}
    assert await depth(amqp, names.dead) == 0
