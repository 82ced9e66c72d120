"""One incident for each section of the runbooks: a fault, the words that its commands have to show, the repair."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import numpy as np
from memq_amqp import stopped

from memq import MemqError, Producer
from tests.rehearsal.stage import COLLECTION, LIMITED, METRICS_PORT, NOISY
from tests.support.faults import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rehearsal.stage import Stage

Step = Callable[["Stage"], Awaitable[None]]

INTERNAL = Fault(grpc.StatusCode.INTERNAL, "Service internal error: odd")
MALFORMED = b"not json"
VECTOR = np.ones((1, 4))
WRONG = json.dumps({"points": [{"id": 1, "vector": [1.0]}]}).encode()


async def nothing(_: Stage) -> None:
    """The incident is over by itself."""


@dataclass(frozen=True, slots=True)
class Incident:
    """shows: a regular expression that the output of the section's commands has to contain while the alert fires.

    lasting: what goes on until the repair, such as processes that are killed again and again.
    after: commands of the section's remedy, run after the repair.
    labels: matchers of the alert that has to fire, where the section has several.
    """

    breaks: Step
    shows: str
    repairs: Step = nothing
    lasting: Step | None = None
    after: tuple[str, ...] = ()
    labels: str = ""


async def kill_pool(stage: Stage) -> None:
    await stage.stop_pool(signal.SIGKILL)


async def stop_pool(stage: Stage) -> None:
    await stage.stop_pool()


async def start_pool(stage: Stage) -> None:
    await stage.start_pool()


async def stop_pool_and_send(stage: Stage) -> None:
    await stage.stop_pool()
    await stage.publish(WRONG, count=5)


async def stop_store(stage: Stage) -> None:
    await asyncio.to_thread(stage.engine.kill)


async def start_store(stage: Stage) -> None:
    await asyncio.to_thread(stage.engine.start)


async def fail_writes(stage: Stage) -> None:
    stage.store.fail_always("Upsert", INTERNAL)


async def mend_writes(stage: Stage) -> None:
    stage.store.fail_always("Upsert", None)


async def slow_queries(stage: Stage) -> None:
    stage.store.fail_always("Query", Fault(seconds=0.3))
    stage.store.fail_always("QueryBatch", Fault(seconds=0.3))


async def mend_queries(stage: Stage) -> None:
    stage.store.fail_always("Query", None)
    stage.store.fail_always("QueryBatch", None)


async def slow_writes(stage: Stage) -> None:
    stage.store.fail_always("Upsert", Fault(seconds=12.0))


async def publish_more(stage: Stage) -> None:
    """Publish about two hundred messages a second that nobody waits for."""
    async with Producer(stage.server.amqp_url) as producer:
        while True:
            with suppress(MemqError):
                await asyncio.gather(
                    *(producer.upsert(COLLECTION, ids=[number], vectors=VECTOR) for number in range(20))
                )
            await asyncio.sleep(0.1)


async def kill_workers(stage: Stage) -> None:
    """Kill every worker process as soon as it has started."""
    while True:
        for pid in stage.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.5)


async def kill_one_four_times(stage: Stage) -> None:
    for _ in range(4):
        if pids := stage.workers():
            os.kill(pids[-1], signal.SIGKILL)
        await asyncio.sleep(3)


async def hang_worker(stage: Stage) -> None:
    os.kill(stage.workers()[-1], signal.SIGSTOP)


async def kill_hung_worker(stage: Stage) -> None:
    """Follow the section: kill the process that /livez calls stuck."""
    page = await asyncio.to_thread(_page, "livez")
    pids = [worker["pid"] for worker in json.loads(page)["workers"] if worker["state"] == "stuck"]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _page(name: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{METRICS_PORT}/{name}", timeout=10) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


async def lose_target(stage: Stage) -> None:
    await stage.watch("rabbitmq-detailed")


async def find_target(stage: Stage) -> None:
    await stage.watch()


async def send_wrong(stage: Stage) -> None:
    while True:
        await stage.publish(WRONG, count=5)
        await asyncio.sleep(0.5)


async def send_malformed(stage: Stage) -> None:
    await stage.publish(MALFORMED, count=3)


async def expire_letters(stage: Stage) -> None:
    policy = ("set_policy", "expiring", "^memq[.]dead$", '{"message-ttl": 100}')
    await asyncio.to_thread(stage.server.control, *policy)
    await stage.publish(MALFORMED, count=3)


async def keep_letters(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.control, "clear_policy", "expiring")


async def ask_and_leave(stage: Stage) -> None:
    await stage.publish(b"{}", f"count.{COLLECTION}", count=10, reply_to="amq.gen-gone", correlation_id="1")


async def close_connections(stage: Stage) -> None:
    """Have RabbitMQ close every connection, again and again, while many messages are unacknowledged."""

    async def close() -> None:
        while True:
            await asyncio.to_thread(stage.server.control, "close_all_connections", "rehearsal")
            await asyncio.sleep(8)

    await asyncio.gather(close(), publish_more(stage))


async def block_publishing(stage: Stage) -> None:
    """RabbitMQ blocks a connection when it publishes: let writes fail slowly, so that workers publish copies then."""
    stage.store.fail_always("Upsert", Fault(grpc.StatusCode.INTERNAL, "Service internal error: odd", seconds=3.0))
    await asyncio.sleep(2)
    await low_memory(stage)


async def unblock_publishing(stage: Stage) -> None:
    await mend_writes(stage)
    await enough_memory(stage)


async def low_memory(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.control, "set_vm_memory_high_watermark", "0.00001")


async def enough_memory(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.control, "set_vm_memory_high_watermark", "0.6")


async def little_disk(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.control, "set_disk_free_limit", "100000GB")


async def enough_disk(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.control, "set_disk_free_limit", "1MB")


async def flood(stage: Stage) -> None:
    """Publish fifty messages a second of one tenant."""
    async with Producer(stage.tenants.url(NOISY), tenant=NOISY) as producer:
        number = 0
        while True:
            number += 1
            await producer.upsert(COLLECTION, ids=[number % 1000], vectors=VECTOR)
            await asyncio.sleep(0.02)


async def ask_beyond_limit(stage: Stage) -> None:
    """Send five requests a second of a tenant that may send one."""
    async with Producer(stage.tenants.url(LIMITED), tenant=LIMITED) as producer:
        while True:
            with suppress(MemqError):
                await producer.count(COLLECTION)
            await asyncio.sleep(0.2)


async def slow_writes_of_many(stage: Stage) -> None:
    stage.store.fail_always("Upsert", Fault(seconds=1.0))


REPLAY = "memq dead replay --code store_error"
PURGE = "memq dead purge --yes"
INCIDENTS: dict[str, Incident] = {
    "ServiceDown": Incident(kill_pool, r"refused|Failed to connect|Couldn't connect", start_pool),
    "QdrantDown": Incident(stop_store, r"store_unavailable|not reached|cannot be reached", start_store),
    "MemqNoWorkers": Incident(stop_pool, r"Connection refused", start_pool),
    "MemqWorkersBelowExpected": Incident(nothing, r'"workers"', lasting=kill_workers),
    "MemqWorkerNotReady": Incident(hang_worker, r"stuck", kill_hung_worker),
    "MemqWorkerRestartLoop": Incident(kill_one_four_times, r'"workers"'),
    "MemqTargetMissing": Incident(lose_target, r"memq_workers", find_target),
    "HighErrorRate": Incident(fail_writes, r"store_error", mend_writes, after=(REPLAY,)),
    "MemqSenderErrors": Incident(nothing, r"wrong_dimension", lasting=send_wrong, after=(PURGE,)),
    "HighLatency": Incident(slow_queries, r"query", mend_queries),
    "MemqErrorBudgetBurnFast": Incident(fail_writes, r"write", mend_writes, after=(PURGE,)),
    "MemqErrorBudgetBurnSlow": Incident(fail_writes, r"store_error", mend_writes, after=(PURGE,)),
    "MemqBacklogGrowing": Incident(slow_writes, r"write", mend_writes, lasting=publish_more),
    "MemqQueueNoConsumers": Incident(stop_pool_and_send, r"memq\.write\s+[1-9]\d*\s+0", start_pool, after=(PURGE,)),
    "MemqQueueDelay": Incident(slow_writes, r"write", mend_writes, lasting=publish_more),
    "MemqRedeliveryStorm": Incident(
        slow_writes_of_many, r"running|name\s+state", mend_writes, lasting=close_connections
    ),
    "MemqDeadLettered": Incident(send_malformed, r"malformed", after=("memq dead purge --code malformed --yes",)),
    "MemqDeadLettersWaiting": Incident(send_malformed, r"malformed", after=(PURGE,)),
    "MemqMessagesDropped": Incident(expire_letters, r"message-ttl", keep_letters),
    "MemqReplyUndeliverable": Incident(ask_and_leave, r"query"),
    "MemqStoreHeld": Incident(stop_store, r"store_unavailable|not reached|cannot be reached", start_store),
    "MemqConnectionBlocked": Incident(block_publishing, r"(?i)memory", unblock_publishing),
    "RabbitMQMemoryAlarm": Incident(low_memory, r"(?i)binary|queue_procs", enough_memory),
    "RabbitMQDiskAlarm": Incident(little_disk, r"memq\.write", enough_disk),
    "MemqTenantNoisy": Incident(slow_writes, rf"{NOISY}.*shared", mend_writes, lasting=flood),
    "MemqTenantAtLimit": Incident(nothing, rf"{LIMITED}.*requests_per_second", lasting=ask_beyond_limit),
}

# With a Qdrant server that Prometheus scrapes instead of the embedded engine.
SERVER_INCIDENTS: dict[str, Incident] = {
    "QdrantDown": Incident(
        stop_store, r"store_unavailable|not reached|cannot be reached", start_store, labels='job="qdrant"'
    ),
}


@asynccontextmanager
async def broken(stage: Stage, incident: Incident) -> AsyncIterator[None]:
    """The fault for as long as the block runs, and its repair afterwards."""
    await incident.breaks(stage)
    going_on = asyncio.ensure_future(incident.lasting(stage)) if incident.lasting else None
    try:
        yield
    finally:
        if going_on is not None:
            await stopped(going_on)
        await incident.repairs(stage)


def shown(incident: Incident, text: str) -> bool:
    """Return True if the commands' output shows the cause."""
    return re.search(incident.shows, text) is not None
