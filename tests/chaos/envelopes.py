"""Broken workers: what they do with the properties of strangers, with forged addresses, and with a broker's refusal."""

from __future__ import annotations

import asyncio
from typing import Any

from memq_schemas.properties import Properties
from memq_worker.amqp import backoff, link, publish_connection, publishing, replies
from memq_worker.errors import BrokerUnavailable, Unconfirmed
from memq_worker.pipeline import settle
from tests.chaos.registry import mutant, untyped


@mutant("forged replies", "answered twice", "unanswered", "storm")
def replies_share_one_channel() -> None:
    """A reply that closes its channel leaves the confirms of its neighbours in doubt: all are sent again.

    Some of them arrive twice, or none in time, as long as each forged address opens a channel again.
    """

    async def publish(self: Any, exchange: str, address: str, body: bytes, properties: Any) -> None:
        await self._until_confirmed(self._known, exchange, address, body, properties, alone=False)

    untyped(replies.Replies).publish = publish
    untyped(publish_connection.PublishConnection)._proves = lambda _self, _exchange, _body: True


@mutant("forged replies", "reconnected")
def a_refused_reply_ends_the_session() -> None:
    original = untyped(replies.Replies).publish

    async def publish(self: Any, *args: Any) -> None:
        try:
            await original(self, *args)
        except Unconfirmed as error:
            raise BrokerUnavailable(str(error)) from error

    untyped(replies.Replies).publish = publish


@mutant("forged replies", "storm")
def refused_replies_are_tried_without_a_pause() -> None:
    _impatient()
    untyped(replies)._TRIALS = 10_000


@mutant("foreign properties", "altered")
def properties_are_copied_as_text() -> None:
    """Text that is not UTF-8 becomes a replacement character in every retry and dead letter."""
    original = untyped(link.ConsumerLink).publish

    def legible(value: Any) -> Any:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value

    async def publish(self: Any, exchange: str, routing_key: str, body: bytes, properties: Any) -> None:
        await original(self, exchange, routing_key, body, Properties(*map(legible, properties)))

    untyped(link.ConsumerLink).publish = publish


@mutant("foreign properties", "unanswered", "unexplained")
def what_is_no_text_is_rejected() -> None:
    """A worker that cannot read a property leaves the message to the broker, without a reason or a reply."""
    original = untyped(settle.Settler)._act

    async def act(self: Any, delivery: Any, outcome: Any) -> Any:
        try:
            "".join(each for each in delivery.properties if isinstance(each, str)).encode()
        except UnicodeEncodeError:
            delivery.link.reject(delivery.tag)
            return outcome
        return await original(self, delivery, outcome)

    untyped(settle.Settler)._act = act


@mutant("refusing broker", "lost")
def a_refused_copy_counts_as_published() -> None:
    original = untyped(publish_connection.PublishConnection).publish

    async def publish(self: Any, *args: Any, **more: Any) -> None:
        try:
            await original(self, *args, **more)
        except (BrokerUnavailable, Unconfirmed):
            return

    untyped(publish_connection.PublishConnection).publish = publish


@mutant("refusing broker", "storm")
def a_refused_copy_is_published_again_at_once() -> None:
    _impatient()


@mutant("refusing broker", "reconnected")
def a_refused_copy_ends_the_session() -> None:
    original = untyped(publishing.Publishing).publish

    async def publish(self: Any, *args: Any) -> None:
        try:
            await untyped(self)._connection.publish(*args)
        except (BrokerUnavailable, Unconfirmed) as error:
            self.end(str(error))
            await original(self, *args)

    untyped(publishing.Publishing).publish = publish


def _impatient() -> None:
    async def pause(self: Any, _failures: int) -> None:
        await asyncio.sleep(0)
        if self.ended.done():
            raise BrokerUnavailable(self.ended.result())

    untyped(backoff.Backoff).pause = pause
