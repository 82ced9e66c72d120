from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import pytest

from memq import (
    BrokerUnavailable,
    ConfigurationError,
    ConnectionChange,
    CountAnswer,
    InvalidPoint,
    InvalidRequest,
    MemqError,
    PointRow,
    Producer,
    Receipt,
    RemoteError,
    ReplyTimeout,
    TopologyMissing,
    Unconfirmed,
    Unroutable,
)
from memq_schemas import ErrorCode, Names, Operation, headers
from tests.support.responder import SILENCE, Refusal, Responder, declare, responder, result
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from aio_pika.abc import AbstractIncomingMessage

    from tests.support.broker import Address


pytestmark = pytest.mark.integration

EITHER = pytest.mark.usefixtures("transport")


class Wire:
    """A TCP proxy before the broker: it can cut every connection, freeze them, and refuse new ones."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.accepted = 0
        self.refusing = False

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        user = self._target.netloc.rpartition("@")[0]
        return self._target._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self.cut()
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.accepted += 1
        far = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, far[1]}
        for source, sink in ((reader, far[1]), (far[0], writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(1 << 16):
                await self.flowing.wait()
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass
        sink.transport.abort()


@pytest.fixture
async def worker(amqp: Address) -> AsyncIterator[Responder]:
    async with responder(amqp.url, amqp.prefix) as standin:
        yield standin


@pytest.fixture
async def wire(amqp: Address) -> AsyncIterator[Wire]:
    async with Wire(amqp.url).open() as wire:
        yield wire


def points(count: int, first: int = 0) -> Iterator[PointRow]:
    return ({"id": number, "vector": [float(number), 1.0]} for number in range(first, first + count))


def ids(bodies: Iterable[Any]) -> list[int]:
    return [point["id"] for body in bodies for point in body["points"]]


@EITHER
async def test_what_goes_over_the_wire(amqp: Address, worker: Responder) -> None:
    worker.on(Operation.QUERY, lambda _: [{"id": 7, "score": 0.5, "payload": {"a": 1}}])
    async with Producer(amqp.url, prefix=amqp.prefix, max_points_per_message=2) as memq:
        assert await memq.upsert("docs", points(3)) == Receipt(points=3, messages=2)
        answer = await memq.query("docs", np.ones(2), 5, filter={"must": [{"key": "a", "match": {"value": 1}}]})
        applied = await memq.upsert("docs", points(1), wait=True)
    await worker.until(4)
    assert [(point.id, point.score, point.payload) for point in answer] == [(7, 0.5, {"a": 1})]
    assert answer.elapsed_ms == 1.5
    assert applied == Receipt(points=1, messages=1, applied=True, elapsed_ms=1.5)
    writes = [message for message in worker.seen if message.routing_key == "upsert.docs"]
    (question,) = (message for message in worker.seen if message.routing_key == "query.docs")
    assert {message.delivery_mode for message in writes} == {2}
    assert [message.reply_to is None for message in writes] == [True, True, False]
    assert question.delivery_mode == 1
    assert (question.reply_to or "").startswith(Names(amqp.prefix).reply(""))
    assert question.expiration
    assert headers.DEADLINE in question.headers
    assert len({message.message_id for message in worker.seen}) == 4
    for message in worker.seen:
        assert message.priority == headers.PRIORITY
        assert message.app_id == headers.APP_ID
        assert message.timestamp
    body = orjson.loads(question.body)
    assert isinstance(body["vector"], str)
    assert body["limit"] == 5


async def test_every_call_has_its_answer(amqp: Address, worker: Responder) -> None:
    worker.on(Operation.DELETE, lambda _: {"deleted": 2})
    worker.on(Operation.PAYLOAD, lambda _: {"updated": None})
    worker.on(Operation.GET, lambda _: [{"id": 1, "payload": {"a": 1}, "vector": [1.0]}])
    worker.on(Operation.COUNT, lambda _: {"count": 12})
    worker.on(Operation.LIST, lambda _: {"collections": ["docs"]})
    worker.on(
        Operation.DESCRIBE,
        lambda _: {"name": "docs", "status": "green", "points": 3, "vectors": {"": {"size": 2, "distance": "dot"}}},
    )
    chosen = {"must": [{"key": "user", "match": {"value": "u03"}}]}
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        assert await memq.delete("docs", [1, 2], wait=True) == Receipt(2, 1, True, 1.5)
        assert await memq.delete("docs", []) == Receipt(0, 0)
        assert await memq.set_payload("docs", filter=chosen, set={"a": 1}, wait=True) == Receipt(None, 1, True, 1.5)
        assert [point.vector for point in await memq.get("docs", [1], with_vector=True)] == [[1.0]]
        assert (await memq.count("docs", filter=chosen)).count == 12
        assert (await memq.collections.list()).names == ["docs"]
        assert (await memq.collections.describe("docs")).collection.vectors[""].size == 2
        assert (await memq.collections.create("docs", 2, "Dot", exist_ok=True)).created
        assert (await memq.collections.delete("docs")).deleted
    assert worker.bodies(Operation.PAYLOAD) == [{"filter": chosen, "set": {"a": 1}}]
    assert worker.bodies(Operation.CREATE) == [{"size": 2, "distance": "Dot", "exist_ok": True}]


@EITHER
async def test_many_questions_share_one_reply_queue_and_each_gets_its_own_answer(
    amqp: Address, worker: Responder
) -> None:
    held: list[AbstractIncomingMessage] = []

    async def backwards(message: AbstractIncomingMessage) -> object:
        held.append(message)
        if len(held) == 200:
            for earlier in reversed(held):
                await worker.reply(earlier, result([{"id": orjson.loads(earlier.body)["limit"], "score": 1.0}]))
        return SILENCE

    worker.on(Operation.QUERY, backwards)
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        answers = await asyncio.gather(*(memq.query("docs", [1.0], limit) for limit in range(1, 201)))
    assert [answer.points[0].id for answer in answers] == list(range(1, 201))
    assert len({message.reply_to for message in held}) == 1
    assert len({message.correlation_id for message in held}) == 200


async def test_a_refused_message_is_a_typed_error_that_says_which_points(amqp: Address, worker: Responder) -> None:
    def pick(message: AbstractIncomingMessage) -> object:
        if 5 in ids([orjson.loads(message.body)]):
            raise Refusal(ErrorCode.WRONG_DIMENSION, "points[1]: 2 dimensions, collection 'docs' takes 3")
        return {"upserted": 2}

    worker.on(Operation.UPSERT, pick)
    async with Producer(amqp.url, prefix=amqp.prefix, max_points_per_message=2) as memq:
        with pytest.raises(RemoteError, match="points 4 to 5") as caught:
            await memq.upsert("docs", points(6), wait=True)
    assert caught.value.code == ErrorCode.WRONG_DIMENSION
    assert caught.value.points == range(4, 6)
    assert caught.value.confirmed == Receipt(4, 2, True, 1.5)


async def test_a_bad_point_stops_the_call_and_what_was_confirmed_is_told(amqp: Address, worker: Responder) -> None:
    rows: Any = itertools.chain(points(5), [{"id": "x", "vector": [1.0, 2.0]}], points(5, 10))
    async with Producer(amqp.url, prefix=amqp.prefix, max_points_per_message=2) as memq:
        with pytest.raises(InvalidPoint) as caught:
            await memq.upsert("docs", rows)
    assert caught.value.index == 5
    assert caught.value.confirmed == Receipt(4, 2)
    await worker.until(2)
    assert sorted(ids(worker.bodies(Operation.UPSERT))) == [0, 1, 2, 3]


async def test_a_call_of_one_point_is_told_apart_from_no_other(amqp: Address, worker: Responder) -> None:
    """It goes a shorter way: in what is sent, answered, told on the way and said of errors it is the same."""
    good: PointRow = {"id": 1, "vector": [1.0, 2.0], "payload": {"a": "b"}, "version": 3}
    bad: PointRow = {"id": "x", "vector": [1.0]}
    large = {"id": 1, "vector": [1.0], "payload": {"text": "x" * 500}}

    async def told(memq: Producer, rows: Any, wait: bool) -> tuple[Any, ...]:
        progress: list[Receipt] = []
        try:
            receipt = await memq.upsert("docs", rows, wait=wait, progress=progress.append)
        except MemqError as error:
            return str(error), type(error), error.points, error.confirmed, progress
        return receipt, receipt.complete, progress

    def pick(message: AbstractIncomingMessage) -> object:
        if message.reply_to and b"no" in message.body:
            raise Refusal(ErrorCode.WRONG_DIMENSION, "points[0]: no")
        return {"upserted": 1}

    worker.on(Operation.UPSERT, pick)
    async with Producer(amqp.url, prefix=amqp.prefix, max_message_bytes=500) as memq:
        for row in (good, bad, large, (2, [1.0], {"say": "no"}), "no point"):
            for wait in (False, True):
                one = await told(memq, [row], wait)
                assert one == await told(memq, iter([row]), wait)
                assert one[-1] == ([one[0]] if isinstance(one[0], Receipt) else [])
        with pytest.raises(InvalidRequest, match="not both"):
            await memq.upsert("docs", [good], versions=[1])
    await worker.until(8)
    bodies = Counter(message.body for message in worker.seen)
    assert set(bodies.values()) == {4}, "two ways, with and without an answer"
    assert orjson.loads(min(bodies))["points"] == [good | {"vector": "AACAPwAAAEA="}]


@EITHER
async def test_silence_is_a_timeout_and_late_or_foreign_replies_are_ignored(amqp: Address, worker: Responder) -> None:
    held: list[AbstractIncomingMessage] = []

    def hold(message: AbstractIncomingMessage) -> object:
        held.append(message)
        return SILENCE

    worker.on(Operation.COUNT, hold)
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        with pytest.raises(ReplyTimeout, match=r"count\.docs: no answer within 0\.3 s"):
            await memq.count("docs", timeout=0.3)
        await worker.reply(held[0], result({"count": 1}))
        await worker.reply(held[0], result({"count": 2}), correlation_id="somebody else's")
        await until(lambda: memq.ignored_replies == 2)
        worker.on(Operation.COUNT, lambda _: {"count": 3})
        assert (await memq.count("docs")).count == 3


async def test_a_broken_reply_is_an_error(amqp: Address, worker: Responder) -> None:
    worker.on(Operation.COUNT, lambda _: b"not json")
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        with pytest.raises(RemoteError, match="contract"):
            await memq.count("docs")


@EITHER
async def test_what_no_queue_takes_is_unroutable(amqp: Address, worker: Responder) -> None:
    names = Names(amqp.prefix)
    queue = await worker.channel.get_queue(names.write, ensure=False)
    await queue.unbind(names.commands, "upsert.#")
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        with pytest.raises(Unroutable, match=r"upsert\.docs.*memq-worker declare") as caught:
            await memq.upsert("docs", points(3))
        assert caught.value.points == range(3)
        assert (await memq.count("docs")).count == 0


@EITHER
async def test_a_full_queue_is_waited_for_and_then_told(amqp: Address, worker: Responder) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    full = await worker.channel.declare_queue("full", exclusive=True, arguments=arguments)
    await full.bind(Names(amqp.prefix).commands, "upsert.#")
    told: list[ConnectionChange] = []
    async with Producer(amqp.url, prefix=amqp.prefix, confirm_timeout=0.5, on_connection=told.append) as memq:
        await memq.upsert("docs", points(1))
        with pytest.raises(Unconfirmed, match="refused"):
            await memq.upsert("docs", points(1))
    async with Producer(amqp.url, prefix=amqp.prefix) as memq:
        waiting = asyncio.create_task(memq.upsert("docs", points(1, 99)))
        refused = len(worker.seen)
        # The other queue takes what this one refuses, so an attempt shows there.
        await worker.until(refused + 2)
        assert not waiting.done()
        await full.purge()
        assert await waiting == Receipt(1, 1)
    assert told == []


@EITHER
async def test_a_cut_connection_loses_no_point_and_is_told(
    amqp: Address, worker: Responder, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[ConnectionChange] = []
    with caplog.at_level(logging.WARNING, "memq"):
        async with Producer(
            wire.url, prefix=amqp.prefix, max_points_per_message=1, max_in_flight=50, on_connection=told.append
        ) as memq:
            cuts = iter([100, 300])
            following = next(cuts)

            def cut(receipt: Receipt) -> None:
                nonlocal following
                if (receipt.points or 0) >= following:
                    following = next(cuts, 10**9)
                    wire.cut()

            assert await memq.upsert("docs", points(500), progress=cut) == Receipt(500, 500)
            assert memq.connected
    await until(lambda: set(ids(worker.bodies(Operation.UPSERT))) == set(range(500)))
    assert [change.connected for change in told] == [False, True, False, True]
    assert "connection to RabbitMQ lost, reconnecting" in caplog.messages
    assert "reconnected to RabbitMQ" in caplog.messages


@EITHER
async def test_questions_in_flight_are_asked_again_after_a_cut_and_no_cancellation_leaks(
    amqp: Address, worker: Responder, wire: Wire
) -> None:
    worker.on(Operation.QUERY, lambda _: SILENCE)
    worker.on(Operation.CREATE, lambda _: SILENCE)
    async with Producer(wire.url, prefix=amqp.prefix, timeout=10) as memq:
        asking: list[asyncio.Task[Any]] = [asyncio.create_task(memq.query("docs", [1.0])) for _ in range(50)]
        creating = asyncio.create_task(memq.collections.create("docs", 2))
        await worker.until(51)
        worker.on(Operation.QUERY, lambda _: [])
        wire.cut()
        answers = await asyncio.gather(*asking, creating, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers[:50]] == ["QueryAnswer"] * 50
    assert isinstance(answers[50], BrokerUnavailable)
    assert len(worker.bodies(Operation.CREATE)) == 1


@EITHER
async def test_a_connection_that_fell_silent_is_left_and_no_cancellation_leaks(
    amqp: Address, worker: Responder, wire: Wire
) -> None:
    told: asyncio.Queue[ConnectionChange] = asyncio.Queue()
    # aiormq gives a silent connection up after three heartbeats, by cancelling whatever waits on it.
    async with Producer(f"{wire.url}?heartbeat=1", prefix=amqp.prefix, on_connection=told.put_nowait) as memq:
        ready = asyncio.Event()

        async def stubborn() -> CountAnswer:
            try:
                ready.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
            return await memq.count("docs")

        cancelled_before = asyncio.create_task(stubborn())
        await ready.wait()
        cancelled_before.cancel()
        wire.flowing.clear()
        writing = asyncio.create_task(memq.delete("docs", [2]))
        asking = asyncio.create_task(memq.count("docs"))
        assert not (await told.get()).connected
        wire.flowing.set()
        assert await writing == Receipt(1, 1)
        assert (await asking).count == (await cancelled_before).count == 0
    assert worker.seen


async def test_while_the_broker_is_away_calls_wait_up_to_their_deadline(
    amqp: Address, worker: Responder, wire: Wire
) -> None:
    told: asyncio.Queue[ConnectionChange] = asyncio.Queue()
    async with Producer(
        wire.url, prefix=amqp.prefix, confirm_timeout=0.5, timeout=0.5, on_connection=told.put_nowait
    ) as memq:
        wire.refusing = True
        wire.cut()
        assert not (await told.get()).connected
        with pytest.raises(Unconfirmed, match="no connection to RabbitMQ"):
            await memq.upsert("docs", points(1))
        with pytest.raises(ReplyTimeout, match="no connection to RabbitMQ"):
            await memq.count("docs")
        assert not memq.connected
        wire.refusing = False
        assert (await told.get()).connected
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)
    await worker.until(1)


@EITHER
async def test_a_silent_broker_holds_the_source_back_and_then_is_told(
    amqp: Address, worker: Responder, wire: Wire
) -> None:
    assert worker.channel
    pulled = 0

    def source() -> Iterator[PointRow]:
        nonlocal pulled
        for point in points(10_000):
            pulled += 1
            yield point

    async with Producer(
        wire.url, prefix=amqp.prefix, confirm_timeout=0.5, max_in_flight=10, max_points_per_message=10
    ) as memq:
        wire.flowing.clear()
        with pytest.raises(Unconfirmed, match="alarm") as caught:
            await memq.upsert("docs", source())
        assert caught.value.confirmed == Receipt(0, 0)
        assert pulled <= 10 * 12
        wire.flowing.set()


@EITHER
async def test_a_cancelled_call_stops_and_the_producer_goes_on(amqp: Address, worker: Responder, wire: Wire) -> None:
    async with Producer(wire.url, prefix=amqp.prefix, max_in_flight=5) as memq:
        started = asyncio.Event()

        async def endless() -> AsyncIterator[PointRow]:
            for point in points(10**9):
                started.set()
                yield point

        wire.flowing.clear()
        task = asyncio.create_task(memq.upsert("docs", endless()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        wire.flowing.set()
        assert (await memq.count("docs")).count == 0
    assert worker.seen


@EITHER
async def test_a_deleted_reply_queue_is_replaced(amqp: Address, worker: Responder) -> None:
    told: asyncio.Queue[ConnectionChange] = asyncio.Queue()
    async with Producer(amqp.url, prefix=amqp.prefix, on_connection=told.put_nowait) as memq:
        await memq.count("docs")
        connection = memq._parts.link._ready.result()._connection
        await (await connection.channel()).delete_queue(worker.seen[0].reply_to or "")
        assert [(await told.get()).connected, (await told.get()).connected] == [False, True]
        await memq.count("docs")
    assert worker.seen[0].reply_to != worker.seen[1].reply_to


@EITHER
async def test_a_deleted_exchange_is_told_and_a_new_one_taken_up(amqp: Address, worker: Responder) -> None:
    async with Producer(amqp.url, prefix=amqp.prefix, confirm_timeout=1) as memq:
        await worker.channel.exchange_delete(Names(amqp.prefix).commands)
        with pytest.raises(TopologyMissing, match="memq-worker declare"):
            await memq.upsert("docs", points(1))
        await declare(worker.channel, amqp.prefix)
        memq._options.confirm_timeout = 30
        assert await memq.upsert("docs", points(1)) == Receipt(1, 1)


@pytest.mark.parametrize(
    ("spoil", "kind", "told"),
    [
        (
            lambda url: url._replace(netloc=f"guest:no@{url.hostname}:{url.port}"),
            ConfigurationError,
            "user or password",
        ),
        (lambda url: url._replace(path="/nowhere"), ConfigurationError, "virtual host 'nowhere'"),
        (lambda url: url, TopologyMissing, "memq-worker declare"),
    ],
)
@EITHER
async def test_what_waiting_cannot_mend_fails_at_once(
    amqp: Address, spoil: Callable[[Any], Any], kind: type[MemqError], told: str
) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(kind, match=told):
            await Producer(spoil(urlsplit(amqp.url)).geturl(), prefix=amqp.prefix, timeout=60).__aenter__()


async def test_an_unreachable_broker_is_told_after_the_timeout_and_another_one_is_tried(
    amqp: Address, worker: Responder, wire: Wire
) -> None:
    wire.refusing = True
    told: list[ConnectionChange] = []
    with pytest.raises(BrokerUnavailable, match=r"within 0\.3 s"):
        await Producer(wire.url, prefix=amqp.prefix, timeout=0.3, on_connection=told.append).__aenter__()
    assert [change.connected for change in told] == [False]
    async with Producer([wire.url, amqp.url], prefix=amqp.prefix) as memq:
        await memq.count("docs")
    assert len(worker.seen) == 1


async def test_a_closed_producer_says_so(amqp: Address, worker: Responder) -> None:
    producer = Producer(amqp.url, prefix=amqp.prefix)
    with pytest.raises(MemqError, match="not open"):
        await producer.count("docs")
    worker.on(Operation.COUNT, lambda _: SILENCE)
    async with producer as memq:
        asking = asyncio.create_task(memq.count("docs"))
        await worker.until(1)
    with pytest.raises(BrokerUnavailable, match="closed"):
        await asking
