"""A broker that refuses what a producer publishes: at once, by name, and without a storm of connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import pytest

from memq import BrokerUnavailable, ConfigurationError, ConnectionChange, MessageTooLarge, PointRow, Producer
from stack.node import Node
from tests.integration.test_refusals import Place, place
from tests.support.broker import Address
from tests.support.responder import declare

if TYPE_CHECKING:
    from pathlib import Path

    from stack.broker import Server

__all__ = ["place"]

pytestmark = pytest.mark.integration


# RabbitMQ keeps the limit outside its environment once it runs.
_KEPT = "persistent_term:put(max_message_size, 5000)"


async def topology(url: str, prefix: str) -> None:
    async with await aio_pika.connect(url) as connection:
        await declare(await connection.channel(), prefix)


async def test_without_write_permission_it_says_so_at_once(place: Place, transport: str) -> None:
    assert transport
    await topology(place.url(), place.address.prefix)
    changes: list[ConnectionChange] = []
    async with Producer(
        place.weak, prefix=place.address.prefix, confirm_timeout=20, on_connection=changes.append
    ) as memq:
        for _ in range(3):
            with pytest.raises(ConfigurationError, match=r"write permission .*memq\.commands"):
                await memq.upsert("docs", [{"id": 1, "vector": [1.0]}])
    assert sum(change.connected for change in changes) <= 3
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a connection was left open"


async def test_above_the_broker_s_limit_it_names_the_limit_and_neighbours_arrive(
    server: Server, transport: str
) -> None:
    assert transport
    if not isinstance(server, Node):
        pytest.skip("needs a node of its own, to change its limit")
    for setting in (
        "application:set_env(rabbit, max_message_size, 5000)",
        "persistent_term:put(max_message_size, 5000)",
    ):
        await asyncio.to_thread(server.control, "eval", f"{setting}.")
    address = Address(server.amqp_url, f"memq-{transport}", server.management_url, "/")
    await topology(address.url, address.prefix)
    changes: list[ConnectionChange] = []
    large: list[PointRow] = [{"id": 1, "vector": [0.5] * 5000}]
    async with Producer(address.url, prefix=address.prefix, confirm_timeout=60, on_connection=changes.append) as memq:

        async def refused() -> None:
            with pytest.raises(MessageTooLarge, match="5000") as raised:
                await memq.upsert("docs", large)
            assert raised.value.limit == 5000

        good = [memq.upsert("docs", [{"id": n, "vector": [1.0]}]) for n in range(50)]
        await asyncio.gather(refused(), *good)
        before = len(changes)
        for _ in range(5):
            await refused()
        assert len(changes) == before, "what is known to be refused is not sent"


async def test_above_the_broker_s_limit_a_message_stays_in_the_outbox_alone(
    server: Server, transport: str, tmp_path: Path
) -> None:
    assert transport
    if not isinstance(server, Node):
        pytest.skip("needs a node of its own, to change its limit")
    for setting in ("application:set_env(rabbit, max_message_size, 5000)", _KEPT):
        await asyncio.to_thread(server.control, "eval", f"{setting}.")
    prefix = f"outbox-{transport}"
    await topology(server.amqp_url, prefix)
    changes: list[ConnectionChange] = []
    async with Producer(server.amqp_url, prefix=prefix, outbox=tmp_path / "box", on_connection=changes.append) as memq:
        for n in range(20):
            await memq.upsert("docs", [{"id": n, "vector": [0.5] * (5000 if n == 7 else 1)}])
        with pytest.raises(MessageTooLarge, match=r"1 of the messages stay in the outbox .*5000"):
            await memq.flush()
        assert memq.outbox is not None
        assert (memq.outbox.messages, len(memq.outbox.refused)) == (0, 1)
        assert len(changes) <= 3, "published once, not again and again"


async def test_a_full_virtual_host_says_so(place: Place, transport: str) -> None:
    assert transport
    path = f"vhost-limits/{place.address.vhost}/max-connections"
    await place.api("PUT", path, {"value": 0})
    with pytest.raises(BrokerUnavailable, match=r"connection limit \(0\)"):
        async with Producer(place.url(), prefix=place.address.prefix, timeout=2):
            pass
