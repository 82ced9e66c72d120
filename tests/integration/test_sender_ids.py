"""Ids of the sender in retries and dead letters, and clients that forge the headers in which they travel."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import aio_pika
import orjson
import pytest

from memq import Producer
from memq.dead import Selection
from memq_schemas import Names, headers
from tests.support.broker import depth, take
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

FORGED = {headers.MESSAGE_ID: "forged", headers.USER_ID: "somebody else"}


async def publish(amqp: Address, message_id: str, user_id: str | None, **forged: str) -> None:
    message = aio_pika.Message(
        orjson.dumps({"points": [{"id": 1, "vector": "no vector"}]}),
        message_id=message_id,
        user_id=user_id,
        app_id="importer",
        type="nightly",
        headers={name: forged[name] for name in forged},
    )
    async with await aio_pika.connect(amqp.url) as connection:
        exchange = await (await connection.channel()).get_exchange(Names(amqp.prefix).commands, ensure=False)
        await exchange.publish(message, "upsert.docs")


async def test_letters_are_found_by_the_ids_of_their_senders(amqp: Address, engine: EmbeddedEngine) -> None:
    user = unquote(urlsplit(amqp.url).username or "")
    dead = Names(amqp.prefix).dead

    async def letters() -> bool:
        return await depth(amqp, dead) == 3

    with running_worker(amqp, qdrant_url=engine.url):
        await publish(amqp, "first", user)
        await publish(amqp, "second", user, **FORGED)
        await publish(amqp, "third", None, **FORGED)
        await until(letters)
        async with Producer(amqp.url, prefix=amqp.prefix) as memq:
            found = {letter.message_id: letter for letter in (await memq.dead.list()).letters}
            assert {name: letter.user_id for name, letter in found.items()} == {
                "first": user,
                "second": user,
                "third": None,
            }
            assert found["first"].properties["app_id"] == "importer"
            assert found["first"].properties["type"] == "nightly"
            await until(letters)
            assert await memq.dead.find("forged") is None
            await until(letters)
            second = await memq.dead.find("second")
            assert second is not None
            assert second.body is not None
            await until(letters)
            tally = await memq.dead.replay(Selection(ids=frozenset({"second"})))
            assert tally.done == 1
        await until(letters)
    again = [message for message in await take(amqp, dead) if headers.USER_ID not in message.headers]
    # Replayed by the user of the producer's connection, without its first sender's name.
    assert len(again) == 2
