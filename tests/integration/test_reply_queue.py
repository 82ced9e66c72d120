"""When a producer has a queue for answers, and what it can do without."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from memq import ConfigurationError, ConnectionChange, Producer, Receipt, ReplyTimeout
from memq_schemas import Names
from stack.amqp import management
from tests.support.responder import responder
from tests.support.tcp_proxy import Way, tcp_proxy

if TYPE_CHECKING:
    from tests.support.broker import Address

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("transport")]

POINT = [(1, [1.0, 2.0])]


def api(amqp: Address, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    if amqp.management_url is None:
        pytest.skip("needs the management API")
    parts = urlsplit(amqp.url)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    path = path.format(vhost=quote(amqp.vhost, safe=""), user=quote(user, safe=""))
    return management(method, f"{amqp.management_url}/api/{path}", user, password, body)


def reply_queues(amqp: Address) -> set[str]:
    names = (queue["name"] for queue in api(amqp, "GET", "queues/{vhost}?columns=name"))
    return {name for name in names if name.startswith(Names(amqp.prefix).reply(""))}


async def test_the_first_question_makes_the_reply_queue_on_each_connection(amqp: Address) -> None:
    told: asyncio.Queue[ConnectionChange] = asyncio.Queue()
    with tcp_proxy(amqp.url) as proxy:
        async with (
            responder(amqp.url, amqp.prefix),
            Producer(proxy.url(amqp.url), prefix=amqp.prefix, on_connection=told.put_nowait) as memq,
        ):
            assert await memq.upsert("docs", POINT) == Receipt(1, 1)
            assert reply_queues(amqp) == set()
            await asyncio.gather(*(memq.count("docs") for _ in range(5)))
            first = reply_queues(amqp)
            assert len(first) == 1
            proxy.reset()
            assert [(await told.get()).connected, (await told.get()).connected] == [False, True]
            assert await memq.upsert("docs", POINT) == Receipt(1, 1)
            assert reply_queues(amqp) <= first, "the new connection has none yet"
            assert await memq.upsert("docs", POINT, wait=True) == Receipt(1, 1, True, 1.5)
            assert len(reply_queues(amqp) - first) == 1


async def test_who_gives_up_while_the_reply_queue_is_made_spoils_it_for_nobody(amqp: Address) -> None:
    told: list[ConnectionChange] = []
    with tcp_proxy(amqp.url) as proxy:
        async with (
            responder(amqp.url, amqp.prefix),
            Producer(proxy.url(amqp.url), prefix=amqp.prefix, on_connection=told.append) as memq,
        ):
            proxy.pause(Way.DOWN)
            patient = asyncio.create_task(memq.count("docs"))
            with pytest.raises(ReplyTimeout, match="has not made the reply queue yet"):
                await memq.count("docs", timeout=0.2)
            proxy.resume()
            assert (await patient).count == 0
    assert told == []


async def test_who_only_writes_needs_no_right_to_make_queues(amqp: Address) -> None:
    async with responder(amqp.url, amqp.prefix):
        api(amqp, "PUT", "permissions/{vhost}/{user}", {"configure": "^$", "write": ".*", "read": ".*"})
        async with Producer(amqp.url, prefix=amqp.prefix) as memq:
            with pytest.raises(ConfigurationError, match="denies the user a right"):
                await memq.count("docs")
            assert await memq.upsert("docs", POINT) == Receipt(1, 1)
            assert memq.connected
            api(amqp, "PUT", "permissions/{vhost}/{user}", {"configure": ".*", "write": ".*", "read": ".*"})
            assert (await memq.count("docs")).count == 0, "it is asked for again at the next question"
