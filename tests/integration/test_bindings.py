"""An upgrade brings new operations, and a worker that declares nothing has to name the bindings that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aio_pika
import pytest

from memq_schemas import Names, Operation, topology
from memq_worker.amqp.bindings import unbound
from memq_worker.amqp.declare import declare

if TYPE_CHECKING:
    from tests.support.broker import Address

pytestmark = pytest.mark.integration


async def test_operations_without_a_binding_are_named(amqp: Address) -> None:
    names = Names(amqp.prefix)
    async with await aio_pika.connect(amqp.url) as connection:
        await declare(connection, topology(amqp.prefix), "always", 30)
        assert await unbound(connection, names, 30) == []
        async with connection.channel() as channel:
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
