"""A canary in every field of hostile and of valid messages: it shows up in no log, metric or header that memq writes.

A log line may have what a sender chose as an address: collection, correlation_id, message_id. The sender's own words
come back in the reply and on the dead letter. Nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import grpc
import pytest
from yarl import URL

from memq_schemas import Names, headers
from stack.amqp import management
from tests.support.broker import Address, depth, take
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.until import until
from tests.support.worker import WorkerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

    from stack.broker import Broker
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

CANARY = "canary7f3a"
OURS = {
    headers.ERROR_CODE,
    headers.ERROR_STAGE,
    headers.EXCEPTION_CLASS,
    headers.EXCEPTION_MESSAGE,
    headers.FIRST_FAILED_AT,
    headers.LAST_FAILED_AT,
    headers.ORIGINAL_QUEUE,
    headers.WORKER,
    headers.RETRY_COUNT,
}

# Runs in the worker before anything else: two places where memq itself fails, with a text that quotes its input.
DEFECTS = """
import memq_worker.pipeline.decode.bodies as decode, memq_worker.qdrant.client as client
points_of, write = decode.decode_points, client.QdrantStore.upsert
def decode_points(body, *rest, **more):
    if b"break-decoding" in body:
        raise ValueError(body.decode())
    return points_of(body, *rest, **more)
async def upsert(self, collection, points, *rest, **more):
    if "break-writing" in str(points.payloads):
        raise KeyError(str(points))
    return await write(self, collection, points, *rest, **more)
decode.decode_points = decode_points
client.QdrantStore.upsert = upsert
"""


@pytest.fixture
async def store(engine: EmbeddedEngine) -> AsyncIterator[FaultyStore]:
    """Refuses and fails what asks for it, and quotes in its answer as Qdrant does."""
    async with faulty_store(engine.url) as store:
        quoting = {"details": f"Wrong input: {CANARY}-details", "metadata": (("note", CANARY),)}
        refusal = Fault(grpc.StatusCode.INVALID_ARGUMENT, only=lambda request: b"refuse-me" in request, **quoting)
        failure = Fault(grpc.StatusCode.INTERNAL, only=lambda request: b"fail-me" in request, **quoting)
        store.fail_always("Upsert", refusal)
        store.fail("Upsert", *[failure] * 100)
        yield store


@pytest.fixture
def secret_url(amqp: Address, broker: Broker) -> Iterator[str]:
    """The test's virtual host, for a user whose password is a canary."""
    url = URL(amqp.url)
    if broker.management_url is None:
        pytest.skip("making a user needs the broker's HTTP API")
    admin, password = url.user or "guest", url.password or "guest"
    name = f"user-{secrets.token_hex(4)}"
    api = f"{broker.management_url}/api"
    management("PUT", f"{api}/users/{name}", admin, password, {"password": f"{CANARY}-password", "tags": ""})
    try:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        management("PUT", f"{api}/permissions/{amqp.vhost}/{name}", admin, password, everything)
        yield str(url.with_user(name).with_password(f"{CANARY}-password"))
    finally:
        management("DELETE", f"{api}/users/{name}", admin, password)


@pytest.fixture(params=["json", "text"])
async def worker(
    request: pytest.FixtureRequest,
    amqp: Address,
    secret_url: str,
    store: FaultyStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[WorkerProcess]:
    (tmp_path / "sitecustomize.py").write_text(DEFECTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = WorkerProcess(
        {
            "amqp_url": secret_url,
            "prefix": amqp.prefix,
            "qdrant_url": store.url,
            "qdrant_api_key": f"{CANARY}-key",
            "metrics_port": free_port(),
            "worker_name": "tested",
            "log_level": "debug",
            "log_format": request.param,
            "log_repeats": 0,
            "max_attempts": 2,
            "store_timeout_seconds": 10,
        }
    )
    try:
        await until(lambda: "worker ready" in worker.text or worker.process.poll() is not None, within=60)
        yield worker
    finally:
        if worker.process.poll() is None:
            await asyncio.to_thread(worker.kill)


def point(number: int, word: str = CANARY, **changes: Any) -> dict[str, Any]:
    return {"id": number, "vector": [0.5, 1.5], "payload": {CANARY: word, "deep": {CANARY: [CANARY]}}} | changes


def upserts(*points: dict[str, Any]) -> dict[str, Any]:
    return {"points": list(points)}


# Writes that end among the dead letters.
DEAD: list[tuple[str, Any, dict[str, Any]]] = [
    ("upsert.docs", CANARY, {}),
    ("upsert.docs", f'{{"points": {CANARY}', {}),
    ("upsert.docs", {CANARY: [CANARY]}, {}),
    ("upsert.docs", upserts(point(1, **{CANARY: CANARY})), {}),
    ("upsert.docs", upserts(point(1, id=CANARY)), {}),
    ("upsert.docs", upserts(point(1, vector=CANARY)), {}),
    ("upsert.docs", upserts(point(1, vector=[CANARY])), {}),
    ("upsert.docs", upserts(point(1, vector={CANARY: [1.0, 2.0]})), {}),
    ("upsert.docs", upserts(point(1, vector={CANARY: CANARY})), {}),
    ("upsert.docs", upserts(point(1, payload=CANARY)), {}),
    ("upsert.docs", upserts(point(1, payload={CANARY: 2**63, CANARY * 2: CANARY})), {}),
    ("upsert.docs", upserts(point(1, payload={"_version": CANARY})), {}),
    ("upsert.docs", upserts(point(1, version=CANARY)), {}),
    ("upsert.docs", upserts(point(1, vector=[1.0])), {}),
    ("upsert.docs", upserts(point(1)), {"content_type": CANARY}),
    ("upsert.docs", upserts(point(1)), {"content_encoding": CANARY}),
    ("upsert.docs", CANARY, {"content_type": "application/vnd.apache.arrow.stream"}),
    ("upsert.docs", CANARY, {"content_encoding": "zstd"}),
    ("upsert.nowhere", upserts(point(1)), {}),
    (f"upsert.{CANARY}/", upserts(point(1)), {}),
    ("delete.docs", {"ids": [CANARY]}, {}),
    ("delete.docs", {"filter": {CANARY: CANARY}}, {}),
    ("delete.docs", {"filter": {"must": [{"key": CANARY, "match": {CANARY: CANARY}}]}}, {}),
    ("delete.docs", {"filter": {"must": [{"key": f"{CANARY}[", "match": {"value": CANARY}}]}}, {}),
    ("payload.docs", {"ids": [1], "set": {"_version": CANARY}}, {}),
    ("payload.docs", {"ids": [1], CANARY: {}}, {}),
    ("payload.docs", {"ids": [1], "unset": [f"{CANARY}["]}, {}),
    ("upsert.docs", upserts(point(1, "refuse-me " + CANARY)), {}),
    ("upsert.docs", upserts(point(1, "fail-me " + CANARY)), {}),
    ("upsert.docs", upserts(point(1, "break-decoding " + CANARY)), {}),
    ("upsert.docs", upserts(point(1, "break-writing " + CANARY)), {}),
]
# Writes that end otherwise: applied, expired, quarantined and then applied.
OTHERWISE: list[tuple[str, Any, dict[str, Any]]] = [
    ("upsert.docs", upserts(point(10), point(11, id=f"{10:032x}")), {}),
    ("payload.docs", {"filter": {"must": [{"key": CANARY, "match": {"value": CANARY}}]}, "set": {CANARY: CANARY}}, {}),
    ("delete.docs", {"ids": [987654]}, {}),
    ("upsert.docs", upserts(point(12)), {"headers": {headers.DEADLINE: 10**12}}),
    ("upsert.docs", upserts(point(13)), {"headers": {"x-delivery-count": 5}}),
]
REQUESTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("query.docs", {"vector": [1.0, 2.0], "limit": 3}, {}),
    ("query.docs", {"vector": [1.0, 2.0], "filter": {"must": [{"key": CANARY, "match": {"value": CANARY}}]}}, {}),
    ("query.docs", {"vector": CANARY}, {}),
    ("query.docs", {"vector": [1.0, 2.0], "using": CANARY}, {}),
    ("query.docs", {"vector": [1.0, 2.0], "filter": {"must": [{"key": f"{CANARY}[", "match": {"value": 1}}]}}, {}),
    ("query.docs", CANARY, {}),
    ("get.docs", {"ids": [CANARY]}, {}),
    ("get.docs", {"ids": [10], "with_payload": [CANARY]}, {}),
    ("count.docs", {"filter": {CANARY: CANARY}}, {}),
    ("collections.describe.docs", {CANARY: CANARY}, {}),
    ("collections.create.other", {"vectors": {CANARY: {"size": 0}}}, {}),
    ("collections.create.other", {"size": 2, "distance": CANARY}, {}),
    (f"collections.{CANARY}", {}, {}),
    (f"get.{CANARY}:", {"ids": [1]}, {}),
]


class Sender:
    """One who writes and asks, and the queue on which he is answered."""

    def __init__(self, channel: AbstractChannel, queue: AbstractQueue, prefix: str) -> None:
        self._channel = channel
        self._prefix = prefix
        self.queue = queue
        self.replies: list[AbstractIncomingMessage] = []

    async def arrived(self, message: AbstractIncomingMessage) -> None:
        self.replies.append(message)

    async def send(self, key: str, body: Any, *, reply_to: str | None = None, **properties: Any) -> None:
        """Every field that may hold text holds a canary, except the addresses and what `properties` say."""
        own = {CANARY: CANARY, headers.TRACEPARENT: CANARY, "tracestate": CANARY}
        own |= dict.fromkeys(OURS - {headers.RETRY_COUNT}, CANARY)
        given: dict[str, Any] = {
            "content_type": "application/json",
            "correlation_id": "corr-1",
            "message_id": secrets.token_hex(8),
            "type": CANARY,
            "app_id": CANARY,
            "delivery_mode": 2,
        }
        given |= properties | {"headers": own | properties.get("headers", {})}
        exchange = await self._channel.get_exchange(f"{self._prefix}.commands", ensure=False)
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        await exchange.publish(aio_pika.Message(raw, reply_to=reply_to or self.queue.name, **given), key)


@asynccontextmanager
async def sender(amqp: Address) -> AsyncIterator[Sender]:
    async with await aio_pika.connect(amqp.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        sender = Sender(channel, await channel.declare_queue(exclusive=True), amqp.prefix)
        await sender.queue.consume(sender.arrived, no_ack=True)
        yield sender


def pages(port: int) -> str:
    """What the worker's HTTP port says, whatever the status."""
    told: list[str] = []
    for path in ("/metrics", "/readyz", "/livez", f"/{CANARY}"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
                told.append(response.read().decode())
        except urllib.error.HTTPError as error:
            told.append(error.read().decode())
    return "\n".join(told)


async def test_a_canary_shows_up_nowhere_but_where_its_sender_looks(
    amqp: Address, worker: WorkerProcess, store: FaultyStore
) -> None:
    names = Names(amqp.prefix)
    async with sender(amqp) as hostile, sender(amqp) as neighbour:
        await hostile.send("collections.create.docs", {"size": 2, "exist_ok": True})
        await until(lambda: hostile.replies)
        for number, (key, body, properties) in enumerate(DEAD + OTHERWISE):
            await hostile.send(key, body, **properties)
            plain = {"id": 1000 + number, "vector": [1.0, 1.0], "payload": {}}
            await neighbour.send("upsert.docs", upserts(plain))
        for key, body, properties in REQUESTS:
            await hostile.send(key, body, **properties)
            await neighbour.send("get.docs", {"ids": [1]})
        await hostile.send("get.docs", {"ids": [1]}, reply_to=f"{CANARY}-who-has-left")
        await hostile.send("count.docs", {}, reply_to=f"{names.write}")
        await hostile.send("get.docs", {"ids": [1]}, reply_to=None, headers={headers.DEADLINE: 10**12})

        await until(lambda: depth_is(amqp, names.dead, len(DEAD)), within=60)
        answered = len(DEAD + OTHERWISE) - 1 + len(REQUESTS) + 1  # of the writes one expires
        await until(lambda: len(hostile.replies) >= answered, within=60)
        plain_writes, plain_requests = len(DEAD + OTHERWISE), len(REQUESTS)
        await until(lambda: len(neighbour.replies) == plain_writes + plain_requests, within=60)
        statuses = {json.loads(reply.body)["status"] for reply in neighbour.replies}
        assert statuses == {200}, "one bad message costs its neighbours nothing"
        assert any(CANARY in reply.body.decode() for reply in hostile.replies), "he may see his own words again"
        for reply in neighbour.replies:
            assert CANARY not in reply.body.decode()
            assert CANARY not in str(reply.headers)
        for reply in hostile.replies:
            assert CANARY not in str(reply.headers), "a reply carries no header that is not what it has to be"
        for dead in await take(amqp, names.dead):
            written = {name: value for name, value in dead.headers.items() if name in OURS}
            assert written.keys() == OURS
            assert CANARY not in str(written), f"{dead.routing_key} {written}"
        assert CANARY not in pages(worker.settings["metrics_port"])
    assert await asyncio.to_thread(worker.terminate) == 0
    for told in ("batch written", "request answered", "delivery settled", "delivery not applied", "unexpected error"):
        assert told in worker.text
    for outcome in ("applied", "answered", "retried", "dead_lettered", "refused", "expired", "quarantined"):
        assert outcome in worker.text
    assert worker.text.count("dead_lettered") == len(DEAD), "each has its line"
    assert "unhandled error in the event loop" not in worker.text
    assert "sitecustomize.py" in worker.text, "the tracebacks of the two defects are there"
    hits = [line for line in worker.text.splitlines() if CANARY in line]
    assert not hits


async def depth_is(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count
