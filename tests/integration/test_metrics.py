"""The numbers of a running worker and of a running pool: real broker, real engine, scraped as Prometheus would."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import aio_pika
import grpc
import numpy as np
import pytest

from memq import Producer, RemoteError
from memq_schemas import ErrorCode, Names, Operation, headers
from tests.support.broker import depth, take
from tests.support.engine import embedded_engine
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.processes import children, stopped
from tests.support.scrape import Scrape, says, scraped, verdict
from tests.support.until import until
from tests.support.worker import free_port, running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = pytest.mark.integration

OPS = [*(op.value for op in Operation), "unknown"]
CODES = [code.value for code in ErrorCode]
CONSUMED = ["write", "write.bulk", "query", "suspect"]
WRITES = [op.value for op in Operation if op.is_write]
TIERS = ["1", "5", "30", "120", "600"]
QUEUES = [*CONSUMED, "dead", *(f"retry.{tier}" for tier in TIERS)]
CALLS = ["upsert", "delete", "payload", "query", "get", "count", "contract", "collections"]
OUTCOMES = [
    *("applied", "superseded", "answered", "refused", "retried", "dead_lettered", "expired", "released", "quarantined")
]

# What dashboards and alerts are written against: of each worker, and of the pool.
OF_WORKER: dict[str, dict[str, list[str]]] = {
    "memq_messages_total": {"op": OPS, "outcome": OUTCOMES, "lane": ["live"]},
    "memq_message_duration_seconds_count": {"op": OPS},
    "memq_stage_duration_seconds_count": {"op": OPS, "stage": ["decode", "wait", "store", "settle"]},
    "memq_queue_delay_seconds_count": {"op": OPS, "lane": ["live"]},
    "memq_queue_delay_clamped_total": {},
    "memq_batch_points_count": {},
    "memq_batch_messages_count": {},
    "memq_batches_total": {"reason": ["idle", "full", "next", "alone", "split", "retry"]},
    "memq_points_total": {"op": ["upsert", "delete", "payload"]},
    "memq_inflight_messages": {"queue": CONSUMED},
    "memq_store_calls_total": {"call": CALLS, "code": ["ok", *CODES]},
    "memq_store_call_duration_seconds_count": {"call": CALLS},
    "memq_replies_total": {"outcome": ["sent", "undeliverable", "refused"]},
    "memq_clock_skews_total": {},
    "memq_retries_total": {"tier": TIERS},
    "memq_dead_letters_total": {"code": CODES},
    "memq_refusals_total": {"code": CODES},
    "memq_amqp_reconnects_total": {},
    "memq_amqp_blocked": {},
    "memq_store_held": {},
    "memq_store_held_seconds_total": {},
    "memq_worker_restarts_total": {},
}
OF_BULK: dict[str, dict[str, list[str]]] = {
    "memq_messages_total": {"op": WRITES, "outcome": OUTCOMES, "lane": ["bulk"]},
    "memq_queue_delay_seconds_count": {"op": WRITES, "lane": ["bulk"]},
}
MORE_THAN_ZERO: dict[str, dict[str, list[str]]] = {
    "memq_prefetch_messages": {"queue": CONSUMED},
    "memq_ready": {},
    "memq_build_info": {},
    "process_cpu_seconds_total": {},
    "process_resident_memory_bytes": {},
    "process_open_fds": {},
    "process_start_time_seconds": {},
}
OF_POOL: dict[str, dict[str, list[str]]] = {
    "memq_queue_messages": {"queue": QUEUES},
    "memq_queue_oldest_age_seconds": {"queue": QUEUES},
}


def values(page: Scrape, name: str, labels: dict[str, list[str]], **own: str) -> list[float]:
    """Of every combination, each exactly once."""
    found: list[float] = []
    for combination in itertools.product(*labels.values()):
        wanted = dict(zip(labels, combination, strict=True)) | own
        matching = page.matching(name, **wanted)
        assert len(matching) == 1, (name, wanted, matching)
        found += matching.values()
    return found


def complaints(promtool: str, text: str) -> str:
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return f"{checked.stdout}{checked.stderr}" + ("" if checked.returncode == 0 else f"exit {checked.returncode}")


def all_ready(port: int) -> Callable[[], Any]:
    return lambda: verdict(port, "/readyz")[1].get("status") == "ready"


def page_of(port: int, messages: int) -> Scrape | None:
    """Once so many messages are counted and timed."""
    page = scraped(port)
    counted = (page.total("memq_messages_total"), page.total("memq_message_duration_seconds_count"))
    return page if counted == (messages, messages) else None


async def publish(amqp: Address, exchange: str, key: str, body: bytes, **properties: Any) -> None:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(body, delivery_mode=2, **properties), key)


async def test_every_series_of_every_worker_is_there_before_any_message(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    with running_worker(amqp, data_dir=tmp_path / "data", processes=2, metrics_port=port):
        await until(all_ready(port), within=30)
        page = await asyncio.to_thread(scraped, port)
        for worker in ("0", "1"):
            for name, labels in [*OF_WORKER.items(), *OF_BULK.items()]:
                assert set(values(page, name, labels, worker=worker)) == {0}, name
            for name, labels in MORE_THAN_ZERO.items():
                assert min(values(page, name, labels, worker=worker)) > 0, name
            assert values(page, "memq_event_loop_lag_seconds", {}, worker=worker)
            assert page.total("memq_message_duration_seconds_bucket", worker=worker, op="query", le="0.2") == 0
            assert page.total("memq_queue_delay_seconds_bucket", worker=worker, op="upsert", le="3600.0") == 0
        for name, labels in OF_POOL.items():
            assert set(values(page, name, labels)) == {0}, name
        assert len(values(page, "memq_queue_consumers", {"queue": QUEUES})) == len(QUEUES)
        assert (page.total("memq_workers"), page.total("memq_workers_expected")) == (2, 2)
        if promtool := shutil.which("promtool"):
            assert await asyncio.to_thread(complaints, promtool, page.text) == ""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    with embedded_engine(tmp_path / "data") as engine:
        async with faulty_store(engine.url) as store:
            yield store


async def test_what_was_sent_is_what_was_counted(amqp: Address, store: FaultyStore) -> None:
    port = free_port()
    names = Names(amqp.prefix)
    context = running_worker(amqp, qdrant_url=store.url, metrics_port=port)
    # In a thread: the proxy the worker talks to lives on this loop.
    await asyncio.to_thread(context.__enter__)
    try:
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            await producer.collections.create("docs", 2)
            for number in range(20):
                await producer.upsert("docs", ids=[2 * number, 2 * number + 1], vectors=np.ones((2, 2)))
            await producer.upsert("docs", ids=[100], vectors=np.ones((1, 2)), wait=True)
            await producer.delete("docs", [0, 1, 2], wait=True)
            for _ in range(3):
                await producer.query("docs", [1.0, 0.0])
            with pytest.raises(RemoteError):
                await producer.count("nowhere")
            with pytest.raises(RemoteError):
                await producer.upsert("docs", ids=[1], vectors=np.ones((1, 3)), wait=True)
            store.fail("Upsert", Fault(grpc.StatusCode.INTERNAL, "Service internal error: odd"))
            await producer.upsert("docs", ids=[101], vectors=np.ones((1, 2)), wait=True)
        # To the queue itself, since the exchange has no route for what is no operation.
        await publish(amqp, "", names.write, b"{}", content_type="application/json")
        past = {headers.DEADLINE: int(time.time() * 1000) - 1000}
        await publish(amqp, names.commands, "count.docs", b"{}", content_type="application/json", headers=past)
        await publish(
            amqp, names.commands, "count.docs", b"{}", content_type="application/json", reply_to=names.reply("gone")
        )

        got = await until(lambda: asyncio.to_thread(page_of, port, 33), within=30)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    assert got is not None
    counted = {
        (dict(labels)["op"], dict(labels)["outcome"]): value
        for labels, value in got.matching("memq_messages_total").items()
        if value
    }
    assert counted == {
        ("upsert", "applied"): 22,
        ("upsert", "dead_lettered"): 1,
        ("upsert", "retried"): 1,
        ("delete", "applied"): 1,
        ("query", "answered"): 3,
        ("count", "refused"): 1,
        ("count", "answered"): 1,
        ("count", "expired"): 1,
        ("collections.create", "answered"): 1,
        ("unknown", "dead_lettered"): 1,
    }
    for name in ("memq_message_duration_seconds_count", "memq_queue_delay_seconds_count"):
        assert got.total(name, op="query") == 3
    assert got.total("memq_message_duration_seconds_count") == 33
    for stage in ("decode", "wait", "store", "settle"):
        assert got.total("memq_stage_duration_seconds_count", op="query", stage=stage) == 3
    assert got.total("memq_points_total", op="upsert") == 42
    assert got.total("memq_points_total", op="delete") == 3
    assert got.total("memq_batch_messages_sum") == 23
    assert got.total("memq_batches_total") == got.total("memq_batch_points_count")
    assert got.total("memq_retries_total", tier="1") == got.total("memq_retries_total") == 1
    for code in ("wrong_dimension", "unknown_operation"):
        assert got.total("memq_dead_letters_total", code=code) == got.total("memq_refusals_total", code=code) == 1
    assert got.total("memq_dead_letters_total") == 2
    assert got.total("memq_refusals_total") == 3
    assert got.total("memq_refusals_total", code="unknown_collection") == 1
    assert got.total("memq_store_calls_total", call="query", code="ok") == 3
    assert got.total("memq_store_calls_total", call="upsert", code="store_error") == 1
    assert got.total("memq_replies_total", outcome="undeliverable") == 1
    # create, upsert, delete, three queries, two errors, and the upsert that was retried
    assert got.total("memq_replies_total", outcome="sent") == 9


async def test_no_counter_goes_back_when_a_worker_is_killed(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    with running_worker(amqp, data_dir=tmp_path / "data", processes=2, metrics_port=port) as pool:
        await until(all_ready(port), within=30)
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            await producer.collections.create("docs", 2)
            for number in range(40):
                await producer.upsert("docs", ids=[number], vectors=np.ones((1, 2)), wait=True)
            # A reply is on its way before its message is counted.
            before = await until(lambda: asyncio.to_thread(page_of, port, 41), within=30)
            assert before is not None
            assert before.total("memq_messages_total", op="upsert", outcome="applied") == 40
            _, first, second = children(pool.process.pid)
            ready = verdict(port, "/readyz")[1]["workers"]
            assert {worker["pid"] for worker in ready} == {first, second}
            os.kill(ready[0]["pid"], signal.SIGKILL)

            def restarted() -> Scrape | None:
                page = scraped(port)
                grown = page.cumulative
                for series, value in before.cumulative.items():
                    assert grown[series] >= value, series
                return page if page.total("memq_worker_restarts_total") and all_ready(port)() else None

            after = await until(lambda: asyncio.to_thread(restarted), within=30)
            assert after is not None
            assert after.total("memq_worker_restarts_total", worker="0") == 1
            assert after.total("memq_worker_restarts_total", worker="1") == 0
            for number in range(40, 60):
                await producer.upsert("docs", ids=[number], vectors=np.ones((1, 2)), wait=True)
        last = await until(lambda: asyncio.to_thread(page_of, port, 61), within=30)
        assert last is not None
        assert last.total("memq_messages_total", op="upsert", outcome="applied") == 60
        assert last.total("memq_messages_total", op="upsert", worker="0") > before.total(
            "memq_messages_total", op="upsert", worker="0"
        )


async def test_a_stopped_worker_holds_up_no_scrape_and_is_named(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    with running_worker(amqp, data_dir=tmp_path / "data", processes=2, metrics_port=port):
        await until(all_ready(port), within=30)
        victim = verdict(port, "/readyz")[1]["workers"][1]["pid"]
        with stopped(victim):
            life = await says(503, port, "/livez")
            states = {worker["worker"]: worker["state"] for worker in life["workers"]}
            assert states == {"0": "running", "1": "stuck"}
            status, work = verdict(port, "/readyz")
            assert (status, work["status"]) == (200, "degraded")
            assert "event loop has been stuck" in work["workers"][1]["reasons"][0]
            page = await asyncio.to_thread(scraped, port)
            assert (page.total("memq_ready", worker="0"), page.total("memq_ready", worker="1")) == (1, 0)
            assert page.total("memq_event_loop_lag_seconds", worker="1") > 1
        await says(200, port, "/livez")
        await until(all_ready(port), within=30)


async def test_queues_are_seen_and_looking_at_dead_letters_changes_nothing(amqp: Address, tmp_path: Path) -> None:
    port = free_port()
    names = Names(amqp.prefix)
    with running_worker(amqp, data_dir=tmp_path / "data", metrics_port=port) as worker:
        long_ago = int(time.time()) - 500
        for number in range(3):
            await publish(amqp, names.dead, "upsert.docs", b"%d" % number, timestamp=long_ago + number)
        await publish(amqp, names.retry(600), "upsert.docs", b"{}")

        def seen() -> Scrape | None:
            page = scraped(port)
            # A look at the queues may fall between two publishes.
            counts = [page.total("memq_queue_messages", queue=queue) for queue in ("dead", "retry.600")]
            return page if counts == [3, 1] else None

        page = await until(lambda: asyncio.to_thread(seen), within=30)
        assert page is not None
        assert page.total("memq_queue_consumers", queue="write") == 1
        assert page.total("memq_queue_consumers", queue="dead") == 0
        assert 495 <= page.total("memq_queue_oldest_age_seconds", queue="dead") < 600
        assert page.total("memq_queue_oldest_age_seconds", queue="write") == 0
        await until(lambda: depth_is(amqp, names.dead, 3))
        worker.terminate()
    assert [message.body for message in await take(amqp, names.dead)] == [b"0", b"1", b"2"]


async def depth_is(amqp: Address, queue: str, number: int) -> bool:
    return await depth(amqp, queue) == number
