from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from memq_amqp import Lost, Refused, Returned

from memq import BrokerUnavailable, ReplyTimeout, Unconfirmed, Unroutable
from memq.connection import publisher
from memq.connection.address import Address
from memq.connection.publisher import ConfirmClock
from memq.connection.replies import Pending
from memq.deliver.sender import Outgoing, Sender
from memq_schemas import Operation, headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq.connection.publisher import Message

UPSERT = Outgoing(Operation.UPSERT, "docs", b"{}")
QUERY = Outgoing(Operation.QUERY, "docs", b"{}")
CREATE = Outgoing(Operation.CREATE, "docs", b"{}")
ANSWER = b'{"status":200,"result":[],"elapsed_ms":1.0}'


class Broker:
    """Stands for link, session and publisher: plays what it is told, one step a publish; then confirms all."""

    reason = "it is dark"
    exchange = "memq.commands"
    address = Address("amqp://somewhere", "somewhere", 5672, "/")

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.messages: list[Message] = []
        self.pending = Pending()
        self.connected = True
        self.drops = 0
        self.publisher = self.replies = self
        self.current = None
        self.writes, self.requests = ConfirmClock(), ConfirmClock()
        self.doubts: list[str] = []

    async def session(self) -> Any:
        return self

    async def name(self) -> str:
        return "memq.reply.1"

    def drop(self, _session: Any, _reason: str) -> None:
        self.drops += 1
        self.pending.lost()

    def replace_silent(self, _session: Any, _clock: ConfirmClock, reason: str) -> None:
        self.doubts.append(reason)

    async def publish(self, message: Message, _routing_key: str, heard: Callable[[], None]) -> None:
        self.messages.append(message)
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await step(self, message)
        heard()

    def sender(self) -> Sender:
        return Sender(self, self.pending)  # pyright: ignore[reportArgumentType]


async def answers(broker: Broker, message: Message) -> None:
    broker.pending.arrived(message.properties.correlation_id, ANSWER)


async def hangs(_broker: Broker, _message: Message) -> None:
    await asyncio.Event().wait()


async def dies_confirmed(broker: Broker, _message: Message) -> None:
    asyncio.get_running_loop().call_soon(broker.pending.lost)


async def test_a_message_is_sent_again_until_confirmed_each_time_as_another() -> None:
    broker = Broker(Lost("gone"), Refused("full"), Lost("gone again"))
    await broker.sender().send(UPSERT, 5)
    assert len({message.message_id for message in broker.messages}) == 4
    assert broker.drops == 2


@pytest.mark.parametrize(
    ("steps", "told"),
    [([hangs], "alarm"), ([Refused("queue full")] * 1000, "queue full"), ([Lost("gone"), hangs], "gone")],
)
async def test_what_cannot_be_confirmed_in_time_says_why(steps: list[Any], told: str) -> None:
    with pytest.raises(Unconfirmed, match=rf"upsert\.docs: no confirm within 0\.2 s: .*{told}"):
        await Broker(*steps).sender().send(UPSERT, 0.2)


@pytest.mark.parametrize(
    ("meanwhile", "seconds", "doubted"), [(QUERY, 28, True), (UPSERT, 28, False), (QUERY, 20, False)]
)
async def test_a_broker_is_doubted_when_writes_wait_in_vain_whatever_becomes_of_questions(
    monkeypatch: pytest.MonkeyPatch, meanwhile: Outgoing, seconds: float, doubted: bool
) -> None:
    now, ended = 0.0, asyncio.Event()
    monkeypatch.setattr(publisher, "monotonic", lambda: now)

    async def in_vain(_broker: Broker, _message: Message) -> None:
        await ended.wait()
        raise TimeoutError

    broker = Broker(in_vain)
    sender = broker.sender()
    waiting = asyncio.create_task(sender.send(UPSERT, 30))
    while not broker.messages:  # noqa: ASYNC110  (it has no event)
        await asyncio.sleep(0)
    now = 10.0
    await sender.send(meanwhile, 1000)
    now = seconds
    ended.set()
    with pytest.raises(Unconfirmed):
        await waiting
    assert bool(broker.doubts) == doubted


async def test_a_broker_that_refuses_everything_is_doubted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(publisher, "monotonic", lambda: now)

    async def refuses(_broker: Broker, _message: Message) -> None:
        nonlocal now
        now += 14.0
        raise Refused("full")

    broker = Broker(refuses, refuses, TimeoutError())
    with pytest.raises(Unconfirmed, match="full"):
        await broker.sender().send(UPSERT, 30)
    assert broker.doubts
    broker = Broker(refuses, None, refuses, TimeoutError())
    sender = broker.sender()
    await sender.send(UPSERT, 30)
    with pytest.raises(Unconfirmed, match="full"):
        await sender.send(UPSERT, 30)
    assert not broker.doubts


async def test_without_a_connection_it_says_that() -> None:
    broker = Broker(hangs)
    broker.connected = False
    with pytest.raises(Unconfirmed, match=r"no connection to RabbitMQ \(it is dark\)"):
        await broker.sender().send(UPSERT, 0.05)


async def test_unroutable_is_not_tried_again() -> None:
    broker = Broker(Returned())
    with pytest.raises(Unroutable):
        await broker.sender().send(UPSERT, 5)
    assert len(broker.messages) == 1


@pytest.mark.parametrize("outgoing", [QUERY, UPSERT])
@pytest.mark.parametrize("loss", [Lost("gone"), dies_confirmed])
async def test_a_question_whose_connection_died_is_asked_again(outgoing: Outgoing, loss: Any) -> None:
    broker = Broker(loss, answers)
    assert (await broker.sender().ask(outgoing, 5)).result == []
    first, second = broker.messages
    assert first.properties.correlation_id == second.properties.correlation_id
    assert first.message_id != second.message_id
    assert len(broker.pending) == 0


@pytest.mark.parametrize("loss", [Lost("gone"), dies_confirmed])
async def test_creating_is_not_asked_twice_when_it_may_have_been_done(loss: Any) -> None:
    broker = Broker(loss, answers)
    with pytest.raises(BrokerUnavailable, match="unknown whether"):
        await broker.sender().ask(CREATE, 5)
    assert len(broker.messages) == 1


async def test_creating_is_asked_again_when_the_broker_refused_it() -> None:
    assert (await Broker(Refused("full"), answers).sender().ask(CREATE, 5)).status == 200


async def test_an_answer_before_the_lost_confirm_is_an_answer() -> None:
    async def answered_then_lost(broker: Broker, message: Message) -> None:
        await answers(broker, message)
        raise Lost("gone")

    broker = Broker(answered_then_lost)
    assert (await broker.sender().ask(CREATE, 5)).status == 200


async def test_silence_is_a_timeout_and_leaves_nobody_waiting() -> None:
    broker = Broker()
    with pytest.raises(ReplyTimeout, match="no worker has answered"):
        await broker.sender().ask(QUERY, 0.05)
    assert len(broker.pending) == 0


async def test_cancelling_a_call_cancels_it_and_leaves_nobody_waiting() -> None:
    broker = Broker()
    task = asyncio.create_task(broker.sender().ask(QUERY, 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(broker.pending) == 0


async def test_a_write_is_persistent_and_a_question_expires() -> None:
    broker = Broker(None, answers)
    sender = broker.sender()
    await sender.send(UPSERT, 5)
    await sender.ask(QUERY, 5)
    write, question = (message.whole() for message in broker.messages)
    assert (write.delivery_mode, write.expiration, write.reply_to, write.correlation_id) == (2, None, None, None)
    assert question.delivery_mode == 1
    assert question.reply_to == "memq.reply.1"
    assert 4000 < int(question.expiration or "") <= 5000
    assert headers.DEADLINE in (question.headers or {})
    for message in (write, question):
        assert message.priority == headers.PRIORITY
        assert message.app_id == headers.APP_ID
        assert message.content_type == headers.JSON
        assert message.timestamp is not None


@pytest.mark.parametrize("seconds", [1e9, 1e300, float("inf")])
async def test_a_question_that_may_wait_for_ever_has_a_deadline_that_brokers_and_workers_take(seconds: float) -> None:
    broker = Broker(answers)
    await broker.sender().ask(QUERY, seconds)
    (message,) = broker.messages
    assert int(message.properties.expiration or "") <= headers.MOST_SECONDS * 1000
    assert message.headers[headers.DEADLINE] <= (time.time() + headers.MOST_SECONDS) * 1000


async def test_a_waited_write_never_expires() -> None:
    broker = Broker(answers)
    await broker.sender().ask(UPSERT, 5)
    assert broker.messages[0].properties.expiration is None
    assert broker.messages[0].headers == {}
