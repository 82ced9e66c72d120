"""Every row of memq_amqp.refusals, provoked on a real broker."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import aiormq
import memq_amqp
import pytest
from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from memq_amqp.refusals import Fault, Kind, Refusal, by_code, refusal_of
from pamqp.commands import Basic

from stack.amqp import management
from stack.node import Node
from tests.support.endings import all_ended
from tests.support.until import until
from tests.support.worker import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiormq.abc import AbstractChannel

    from stack.broker import Server
    from tests.support.broker import Address

pytestmark = pytest.mark.integration

SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual host of the test's own, as its administrator and as a user who may connect and nothing else."""

    address: Address
    user: str
    password: str

    @property
    def weak(self) -> str:
        return self.url(user=self.user, password=self.password)

    def url(self, **parts: Any) -> str:
        given = urlsplit(self.address.url)
        user, password = parts.get("user", given.username), parts.get("password", given.password)
        host = f"{given.hostname}:{parts.get('port', given.port)}"
        return f"amqp://{user}:{password}@{host}/{parts.get('vhost', self.address.vhost)}"

    async def api(self, method: str, path: str, body: object = None) -> Any:
        given = urlsplit(self.address.url)
        url = f"{self.address.management_url}/api/{path}"
        return await asyncio.to_thread(management, method, url, given.username or "", given.password or "", body)


@pytest.fixture
async def place(amqp: Address) -> AsyncIterator[Place]:
    if amqp.management_url is None:
        pytest.skip("needs the management API, to make users and limits")
    found = Place(amqp, f"weak-{secrets.token_hex(4)}", secrets.token_hex(8))
    await found.api("PUT", f"users/{found.user}", {"password": found.password, "tags": ""})
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    await found.api("PUT", f"permissions/{amqp.vhost}/{found.user}", nothing)
    try:
        yield found
    finally:
        await found.api("DELETE", f"users/{found.user}")


async def connecting(url: str, connect: Callable[..., Awaitable[Any]]) -> Refusal:
    """The refusal of a connection; fails when there is none."""
    with pytest.raises((AMQPError, OSError)) as raised:
        await connect(url, timeout=SECONDS)
    refusal = refusal_of(raised.value)
    assert refusal is not None, raised.value
    return refusal


@pytest.fixture(params=[memq_amqp.connect, memq_amqp.connect_stock], ids=["fast", "stock"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Any]]:
    return request.param


async def test_a_refused_connection_has_its_row(place: Place, connect: Callable[..., Awaitable[Any]]) -> None:
    refusal = await connecting(place.url(password="wrong"), connect)
    assert (refusal.kind, refusal.fault, refusal.code) == (Kind.CREDENTIALS, Fault.SETTINGS, 403)
    refusal = await connecting(place.url(vhost="nowhere"), connect)
    assert (refusal.kind, refusal.fault, refusal.code) == (Kind.VHOST_MISSING, Fault.SETTINGS, 530)
    await place.api("DELETE", f"permissions/{place.address.vhost}/{place.user}")
    refusal = await connecting(place.weak, connect)
    assert (refusal.kind, refusal.fault) == (Kind.VHOST_FORBIDDEN, Fault.SETTINGS)
    assert place.user in str(refusal)
    refusal = await connecting(place.url(port=free_port()), connect)
    assert (refusal.kind, refusal.fault) == (Kind.UNREACHABLE, Fault.BROKER)
    refusal = await connecting(f"amqp://nowhere.invalid:{free_port()}/", connect)
    assert (refusal.kind, refusal.fault) == (Kind.UNREACHABLE, Fault.BROKER)


async def test_a_full_virtual_host_names_its_limit(place: Place, connect: Callable[..., Awaitable[Any]]) -> None:
    vhost = place.address.vhost
    for path, url in ((f"vhost-limits/{vhost}", place.url()), (f"user-limits/{place.user}", place.weak)):
        await place.api("PUT", f"{path}/max-connections", {"value": 0})
        refusal = await connecting(url, connect)
        assert (refusal.kind, refusal.fault, refusal.limit) == (Kind.CONNECTION_LIMIT, Fault.BROKER, 0)
        await place.api("DELETE", f"{path}/max-connections")


async def test_certificates_and_strangers_have_their_rows(connect: Callable[..., Awaitable[Any]]) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as stranger:
        port = stranger.sockets[0].getsockname()[1]
        plain = await connecting(f"amqp://127.0.0.1:{port}/", connect)
        # aiormq waits for the rest of a frame as long as it takes.
        assert plain.kind is (Kind.PROTOCOL if connect is memq_amqp.connect else Kind.LOST)
        secure = await connecting(f"amqps://127.0.0.1:{port}/", connect)
        assert (secure.kind, secure.fault) == (Kind.TLS, Fault.SETTINGS)


async def refused(url: str, act: Callable[[AbstractChannel], Awaitable[Any]]) -> Refusal:
    """The refusal of what is done on a channel, or of the channel or connection that it ends."""
    before = asyncio.all_tasks()
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel()
        try:
            await asyncio.wait_for(act(channel), SECONDS)
            closing: Any = channel
            error = await asyncio.wait_for(_end(closing.closing), SECONDS)
        except (AMQPError, ChannelInvalidStateError) as caught:
            error = caught
    finally:
        await connection.close()
        await all_ended(since=before)
    refusal = refusal_of(error)
    assert refusal is not None, error
    return refusal


async def _end(closing: asyncio.Future[Any]) -> BaseException:
    try:
        await asyncio.shield(closing)
    except AMQPError as error:
        return error
    raise AssertionError("the channel was closed without a reason")


def publish(exchange: str, key: str = "k", body: bytes = b"x", **properties: Any) -> Callable[..., Awaitable[Any]]:
    async def act(channel: AbstractChannel) -> None:
        await channel.basic_publish(
            body, exchange=exchange, routing_key=key, properties=Basic.Properties(**properties), mandatory=True
        )

    return act


async def consume(channel: AbstractChannel) -> None:
    async def ignore(_: object) -> None: ...

    await channel.basic_consume("q", ignore)


FORGED = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA0NzY5.AAAA=="

CASES: dict[str, tuple[bool, Callable[..., Awaitable[Any]], Kind, Fault, int | None]] = {
    # By a user without permissions, what is done, and its row.
    "write": (True, publish("ex"), Kind.PERMISSION, Fault.SETTINGS, None),
    "read": (True, consume, Kind.PERMISSION, Fault.SETTINGS, None),
    "configure": (True, lambda c: c.queue_declare("mine"), Kind.PERMISSION, Fault.SETTINGS, None),
    "internal exchange": (False, publish("internal"), Kind.PERMISSION, Fault.SETTINGS, None),
    "no exchange": (False, publish("nowhere"), Kind.NOT_FOUND, Fault.SETTINGS, None),
    "no queue": (False, lambda c: c.queue_declare("nowhere", passive=True), Kind.NOT_FOUND, Fault.SETTINGS, None),
    "other arguments": (False, lambda c: c.queue_declare("q", durable=False), Kind.MISMATCH, Fault.SETTINGS, None),
    "user id": (False, publish("ex", user_id="other"), Kind.PROPERTY, Fault.MESSAGE, None),
    "expiration": (False, publish("ex", expiration="soon"), Kind.PROPERTY, Fault.MESSAGE, None),
    "no reply consumer": (False, publish("ex", reply_to="amq.rabbitmq.reply-to"), Kind.REPLY_TO, Fault.MESSAGE, None),
    "large headers": (
        False,
        publish("ex", headers={"a": "x" * 200_000}),
        Kind.HEADERS_TOO_LARGE,
        Fault.MESSAGE,
        131_064,
    ),
    "unknown tag": (False, lambda c: c.basic_ack(77), Kind.UNKNOWN_TAG, Fault.UNSURE, None),
    "full queue": (False, publish("", "full"), Kind.NACK, Fault.BROKER, None),
    "no route": (False, publish("ex", "nobody"), Kind.RETURN, Fault.SETTINGS, None),
    "not implemented": (
        False,
        lambda c: c.queue_delete("q", if_unused=True),
        Kind.NOT_IMPLEMENTED,
        Fault.UNSURE,
        None,
    ),
}


@pytest.fixture
async def declared(place: Place) -> AsyncIterator[AbstractChannel]:
    connection = await aiormq.connect(place.url())
    channel = await connection.channel()
    await channel.exchange_declare("ex", exchange_type="topic")
    await channel.exchange_declare("internal", internal=True)
    await channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    await channel.queue_declare("full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    yield channel
    await connection.close()


@pytest.mark.parametrize("case", CASES)
async def test_a_refusal_on_a_channel_has_its_row(place: Place, declared: AbstractChannel, case: str) -> None:
    assert not declared.is_closed
    weak, act, kind, fault, limit = CASES[case]
    refusal = await refused(place.weak if weak else place.url(), act)
    assert (refusal.kind, refusal.fault, refusal.limit) == (kind, fault, limit), refusal
    assert " - " not in str(refusal)


async def test_a_locked_queue_a_full_host_and_an_end_have_their_rows(place: Place, declared: AbstractChannel) -> None:
    await declared.queue_declare("exclusive", exclusive=True)
    locked = await refused(place.url(), lambda c: c.queue_declare("exclusive", passive=True))
    assert (locked.kind, locked.fault) == (Kind.LOCKED, Fault.BROKER)
    vhost = place.address.vhost
    await place.api("PUT", f"vhost-limits/{vhost}/max-queues", {"value": 1})
    many = await refused(place.url(), lambda c: c.queue_declare("one-more"))
    assert (many.kind, many.fault, many.limit) == (Kind.QUEUE_LIMIT, Fault.SETTINGS, 1)
    await place.api("PUT", f"user-limits/{place.user}/max-channels", {"value": 1})

    async def second(channel: AbstractChannel) -> None:
        await channel.connection.channel()

    channels = await refused(place.weak, second)
    assert (channels.kind, channels.fault, channels.limit) == (Kind.CHANNEL_LIMIT, Fault.BROKER, 1)

    async def ended(channel: AbstractChannel) -> None:
        # The list may still have connections of before, and not yet this one.
        async def closed() -> bool:
            for each in await place.api("GET", f"vhosts/{vhost}/connections"):
                with suppress(OSError):
                    await place.api("DELETE", f"connections/{quote(each['name'], safe='')}")
            return channel.is_closed

        await until(closed, within=SECONDS)

    closed = await refused(place.url(), ended)
    assert (closed.kind, closed.fault, closed.code) == (Kind.CLOSED, Fault.BROKER, 320)


async def test_the_broker_s_own_settings_have_their_rows(server: Server) -> None:
    if not isinstance(server, Node):
        pytest.skip("needs a node of its own, to change its settings")
    url = server.amqp_url

    settings = (
        # As max_message_size in rabbitmq.conf; 3.10 keeps it outside its environment.
        "application:set_env(rabbit, max_message_size, 1000)",
        "persistent_term:put(max_message_size, 1000)",
        "application:set_env(rabbit, consumer_timeout, 500)",
        "application:set_env(rabbit, channel_tick_interval, 200)",
    )
    await asyncio.to_thread(server.control, "eval", f"{', '.join(settings)}.")
    large = await refused(url, publish("amq.topic", body=b"x" * 1001))
    assert (large.kind, large.fault, large.limit) == (Kind.TOO_LARGE, Fault.MESSAGE, 1000)

    async def hold(channel: AbstractChannel) -> None:
        await channel.queue_declare("held")
        arrived = asyncio.Event()

        async def arrive(_: object) -> None:
            arrived.set()

        await channel.basic_consume("held", arrive)
        await channel.basic_publish(b"x", routing_key="held")
        await arrived.wait()

    if (server.version or "3").startswith("3"):
        held = await refused(url, hold)
        assert (held.kind, held.fault) == (Kind.CONSUMER_TIMEOUT, Fault.BROKER)
        forged = await refused(url, publish("", FORGED))
        assert (forged.kind, forged.fault, forged.code) == (Kind.INTERNAL, Fault.UNSURE, 541)


def test_text_of_other_releases_and_of_a_cluster() -> None:
    """Rows that one node of one release cannot show."""
    rows = {
        (406, "PRECONDITION_FAILED - message size 9 is larger than max size 8"): (Kind.TOO_LARGE, 8),
        (404, "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible"): (
            Kind.QUEUE_DOWN,
            None,
        ),
        (541, "INTERNAL_ERROR - access to vhost 'v' refused for user 'u': vhost 'v' is down"): (Kind.VHOST_DOWN, None),
        (506, "RESOURCE_ERROR - x"): (Kind.OVERLOADED, None),
        (502, "SYNTAX_ERROR - x"): (Kind.PROTOCOL, None),
        (599, "SOMETHING_NEW - x"): (Kind.LOST, None),
        (313, "NO_CONSUMERS"): (Kind.RETURN, None),
    }
    for (code, text), (kind, limit) in rows.items():
        found = by_code(code, text)
        assert (found.kind, found.limit, found.code) == (kind, limit, code), text


def test_other_exceptions_are_no_refusals() -> None:
    for error in (ValueError("x"), KeyError("x"), RuntimeError("x"), asyncio.CancelledError()):
        assert refusal_of(error) is None
    assert refusal_of(TimeoutError()) == Refusal(Kind.TIMEOUT, "no answer in time")
    reset = refusal_of(ConnectionResetError(104, "Connection reset by peer"))
    assert reset is not None
    assert reset.kind is Kind.LOST
