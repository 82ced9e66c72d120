"""Exchanges that somebody deletes under a running worker and a connected producer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import aio_pika
import pytest
from memq_amqp import Connection
from memq_amqp.address import parse

from memq import Producer
from memq.errors import MemqError
from memq_schemas import Names, topology
from memq_worker.amqp.declare import declare
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration
Lane = Literal["live", "bulk"]
LANES: tuple[Lane, ...] = ("live", "bulk")
EXCHANGES = [exchange.name.partition(".")[2] for exchange in topology("x").exchanges]


async def _delete(amqp: Address, *names: str) -> None:
    async with await aio_pika.connect(amqp.url) as connection, connection.channel() as channel:
        for name in names:
            await channel.exchange_delete(name)


async def _there(amqp: Address, name: str) -> bool:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel()
        try:
            await channel.get_exchange(name)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
    return True


async def test_a_deleted_exchange_is_declared_again_and_no_write_is_lost(amqp: Address, tmp_path: Path) -> None:
    names = Names(amqp.prefix)
    confirmed: set[int] = set()
    context = running_worker(amqp, data_dir=tmp_path)
    worker = await asyncio.to_thread(context.__enter__)
    try:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=30) as producer:
            await producer.collections.create("docs", size=2)
            # Both lanes, a refused write for the retries and dead letters, and writes until each exchange is back.
            for number, name in enumerate(EXCHANGES):
                await _delete(amqp, f"{amqp.prefix}.{name}")
                for lane in LANES:
                    point = 2 * number + (lane == "bulk")
                    sent = 0

                    async def written(point: int = point, lane: Lane = lane) -> bool:
                        nonlocal sent
                        sent += 1
                        try:
                            await producer.upsert("docs", [(point, [1.0, 2.0])], wait=True, lane=lane)
                        except MemqError:
                            return False
                        confirmed.add(point)
                        return True

                    await until(written, within=60, every=0.2)
                await until(lambda name=name: _there(amqp, f"{amqp.prefix}.{name}"), within=60)
            await _delete(amqp, *(f"{amqp.prefix}.{name}" for name in EXCHANGES))
            await until(lambda: _there(amqp, names.dead), within=60)

            async def refused() -> bool:
                try:
                    await producer.upsert("nowhere", [(1, [1.0])])
                except MemqError:
                    return False
                return True

            await until(refused, within=60, every=0.2)

            async def buried() -> bool:
                listing = await producer.dead.list()
                return {letter.code for letter in listing.letters} == {"unknown_collection"}

            await until(buried, within=60, every=0.5)
            assert (await producer.count("docs")).count == len(confirmed) == 2 * len(EXCHANGES)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    assert [line["exchange"] for line in worker.logged("exchange missing")][: len(EXCHANGES)] == [
        f"{amqp.prefix}.{name}" for name in EXCHANGES
    ]
    assert len(worker.logged("worker ready")) == 1


@pytest.mark.slow
async def test_a_worker_that_declares_nothing_names_the_exchange(amqp: Address, tmp_path: Path) -> None:
    names = Names(amqp.prefix)
    with running_worker(amqp, data_dir=tmp_path / "first"):
        pass
    context = running_worker(amqp, data_dir=tmp_path / "first", declare="check")
    worker = await asyncio.to_thread(context.__enter__)
    try:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=30) as producer:
            await producer.collections.create("docs", size=2)
            await _delete(amqp, names.commands)

            async def named() -> bool:
                return [line["exchange"] for line in worker.logged("exchange missing")] == [names.commands]

            await until(named, within=60, every=0.2)
            with pytest.raises(MemqError, match=names.commands):
                await producer.upsert("docs", [(1, [1.0, 2.0])])
            async with await aio_pika.connect(amqp.url) as raw:
                await declare(Connection(raw, *parse(amqp.url)), topology(amqp.prefix), "always", 30)
            await until(lambda: worker.logged("exchange declared again"), within=60, every=0.2)
            await producer.upsert("docs", [(1, [1.0, 2.0])], wait=True)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    assert len(worker.logged("worker ready")) == 1
