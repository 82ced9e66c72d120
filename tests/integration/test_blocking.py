"""`memq.blocking` with a real worker: from threads, beside a running loop, after a fork; and foreign event loops."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import memq
from memq import InvalidRequest, RemoteError, WrongContext, blocking
from tests.support.broker import own_address
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker
    from tests.support.broker import Address

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def address(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Address of a real worker with an embedded store."""
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        yield address


@pytest.fixture
def producer(address: Address) -> Iterator[blocking.Producer]:
    with blocking.Producer(address.url, prefix=address.prefix) as producer:
        producer.collections.create("notes", 2, exist_ok=True)
        yield producer
        producer.collections.delete("notes")


def point(number: int) -> memq.PointRow:
    return {"id": number, "vector": [1.0, float(number)], "payload": {"n": number}}


def test_everything_that_the_asyncio_producer_does(producer: blocking.Producer) -> None:
    assert producer.connected
    assert producer.outbox is None
    seen: list[memq.Receipt] = []
    receipt = producer.upsert("notes", [point(n) for n in range(250)], wait=True, progress=seen.append)
    assert (receipt.points, receipt.messages, receipt.applied, len(seen)) == (250, 3, True, 3)
    assert producer.upsert("notes", (point(n) for n in range(250, 500)), wait=True).points == 250
    producer.upsert("notes", ids=range(500, 600), vectors=np.ones((100, 2)), wait=True)
    assert producer.count("notes").count == 600
    assert [found.payload for found in producer.get("notes", [7])] == [{"n": 7}]
    assert len(producer.query("notes", [1.0, 0.0], limit=3)) == 3
    producer.set_payload("notes", [7], set={"a": 1}, wait=True)
    producer.delete("notes", [8], wait=True)
    assert producer.count("notes").count == 599
    assert "notes" in producer.collections.list().names
    assert producer.dead.list().letters == []
    with pytest.raises(RemoteError) as caught:
        producer.count("absent")
    assert caught.value.code == "unknown_collection"


def test_threads_share_one_producer(producer: blocking.Producer) -> None:
    def write(thread: int) -> int:
        numbers = range(thread * 100, thread * 100 + 100)
        return producer.upsert("notes", (point(n) for n in numbers), wait=True).points or 0

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(16))) == 1600
    assert producer.count("notes").count == 1600


async def test_it_works_where_a_loop_is_running(address: Address) -> None:
    with blocking.Producer(address.url, prefix=address.prefix) as producer:
        assert producer.collections.list().names == []
        assert producer.ignored_replies == 0


def test_an_interrupt_ends_a_call(producer: blocking.Producer) -> None:
    def rows() -> Any:
        yield point(1)
        os.kill(os.getpid(), signal.SIGINT)
        yield point(2)

    with pytest.raises(KeyboardInterrupt):
        producer.upsert("notes", rows(), wait=True)
    assert producer.count("notes").count <= 1


def in_a_child(inherited: blocking.Producer, address: Address, told: Any) -> None:
    try:
        with pytest.raises(WrongContext, match="before a fork"):
            inherited.count("notes")
        with blocking.Producer(address.url, prefix=address.prefix) as own:
            told.send(own.count("notes").count)
    except BaseException:  # noqa: BLE001 the parent raises it
        told.send(traceback.format_exc())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_is_told_and_opens_its_own(producer: blocking.Producer, address: Address) -> None:
    producer.upsert("notes", [point(1)], wait=True)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=in_a_child, args=(producer, address, there))
    child.start()
    there.close()
    assert here.recv() == 1
    child.join()
    assert child.exitcode == 0
    assert producer.count("notes").count == 1


async def test_another_loop_is_told_at_once_and_harms_nothing(address: Address) -> None:
    async with memq.Producer(address.url, prefix=address.prefix) as producer:
        caught: list[BaseException] = []

        async def use() -> None:
            for call in (
                lambda: producer.count("notes"),
                lambda: producer.upsert("notes", [point(1)]),
                lambda: producer.delete("notes", [1]),
                lambda: producer.__aexit__(None, None, None),
            ):
                with pytest.raises(WrongContext) as told:
                    await call()
                caught.append(told.value)

        thread = threading.Thread(target=asyncio.run, args=(use(),))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(caught) == 4
        assert producer.connected
        assert (await producer.collections.list()).names == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "soon"])
def test_timeouts_are_seconds_above_zero(producer: blocking.Producer, timeout: Any) -> None:
    with pytest.raises(InvalidRequest, match="timeout"):
        producer.count("notes", timeout=timeout)
    with pytest.raises(InvalidRequest, match="timeout"):
        blocking.Producer(timeout=timeout)
    with pytest.raises(InvalidRequest, match="timeout"):
        producer.flush(timeout)


@pytest.mark.parametrize("ids", [1, "abc", None, 1.5])
def test_ids_are_a_list(producer: blocking.Producer, ids: Any) -> None:
    with pytest.raises(InvalidRequest, match="ids"):
        producer.get("notes", ids)
    with pytest.raises(InvalidRequest, match="points"):
        producer.upsert("notes", 5)  # pyright: ignore[reportArgumentType]
