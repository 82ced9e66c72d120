"""What a test sees of the broker: an address of its own, and a look into its queues."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit

import aio_pika
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from stack.amqp import management

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aio_pika.abc import AbstractIncomingMessage

    from stack.broker import Broker


@dataclass(frozen=True, slots=True)
class Address:
    """Where one test's queues live: its own virtual host, or on a broker without HTTP API its own name prefix."""

    url: str
    prefix: str
    management_url: str | None
    vhost: str


@contextmanager
def own_address(broker: Broker) -> Iterator[Address]:
    parts = urlsplit(broker.amqp_url)
    name = f"test-{secrets.token_hex(5)}"
    if broker.management_url is None:
        vhost = unquote(parts.path[1:]) or "/"
        yield Address(broker.amqp_url, f"memq-{name}", None, vhost)
        return
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    api = f"{broker.management_url}/api"
    _make(f"{api}/vhosts/{name}", user, password)
    try:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        management("PUT", f"{api}/permissions/{name}/{quote(user, safe='')}", user, password, everything)
        yield Address(parts._replace(path=f"/{name}").geturl(), "memq", broker.management_url, name)
    finally:
        _remove(f"{api}/vhosts/{name}", user, password)


@retry(retry=retry_if_exception_type(OSError), wait=wait_fixed(1), stop=stop_after_attempt(3), reraise=True)
def _make(vhost: str, user: str, password: str) -> None:
    # A broker that has just come up may not have it running in time, which is an error 500.
    try:
        management("PUT", vhost, user, password, {}, within=120.0)
    except OSError:
        with suppress(OSError):
            management("DELETE", vhost, user, password)
        raise


@retry(retry=retry_if_exception_type(OSError), wait=wait_fixed(1), stop=stop_after_attempt(30), reraise=True)
def _remove(vhost: str, user: str, password: str) -> None:
    # So is a broker that the test has restarted: error 500 until its virtual hosts run.
    try:
        management("DELETE", vhost, user, password, within=120.0)
    except HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:  # an attempt before may have removed it and then failed
            raise


async def depth(address: Address, queue: str) -> int:
    """Messages ready in `queue`. Asked over AMQP: the HTTP API's numbers are up to five seconds old."""
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def consumers(address: Address, queue: str) -> bool:
    """Whether anybody consumes from `queue`, which need not be there."""
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        try:
            declared = await channel.declare_queue(queue, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
        return bool(declared.declaration_result.consumer_count)


async def take(address: Address, queue: str) -> list[AbstractIncomingMessage]:
    """Remove and return what is ready in `queue` now."""
    return [message async for message in _drain(address, queue)]


async def _drain(address: Address, queue: str) -> AsyncIterator[AbstractIncomingMessage]:
    async with await aio_pika.connect(address.url) as connection:
        channel = await connection.channel()
        source = await channel.get_queue(queue, ensure=False)
        while message := await source.get(no_ack=True, fail=False, timeout=30):
            yield message
