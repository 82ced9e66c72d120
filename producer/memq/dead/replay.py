"""Sends dead letters again: each is confirmed by the broker before it leaves the dead-letter queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from memq_amqp import Properties, stopped

from memq.connection.message import Message
from memq.errors import Unroutable
from memq_schemas import headers
from memq_schemas.topology import BULK, LIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import AbstractIncomingMessage

    from memq.dead.walk import Walk
    from memq.deliver.sender import Sender

IN_FLIGHT = 256


class Replay:
    """Whenever it is interrupted, a letter is in the dead-letter queue, or on its way to a worker, or both."""

    def __init__(self, walk: Walk, sender: Sender, timeout: float) -> None:
        self._walk = walk
        self._sender = sender
        self._timeout = timeout

    async def run(
        self,
        messages: list[AbstractIncomingMessage],
        sent: Callable[[], None],
        unroutable: Callable[[Unroutable], None],
    ) -> None:
        """In order, as far as the broker takes them at the first attempt. Those that no queue takes stay.

        Raises Unconfirmed, and Lost; those that were on their way by then are waited for, no more are sent.
        """
        await self._walk.stop()
        room = asyncio.Semaphore(IN_FLIGHT)
        failures: list[BaseException] = []

        async def one(message: AbstractIncomingMessage) -> None:
            async with room:
                if failures:
                    return
                key = message.routing_key or ""
                try:
                    lane = BULK if message.headers.get(headers.LANE) == BULK else LIVE
                    await self._sender.deliver(key, lambda message_id: again(message, message_id), self._timeout, lane)
                    await self._walk.remove(message.delivery_tag or 0)
                except Unroutable as error:
                    unroutable(error)
                except Exception as error:  # noqa: BLE001 it is raised below, when the others have ended
                    failures.append(error)
                else:
                    sent()

        tasks = [asyncio.create_task(one(message)) for message in messages]
        try:
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await stopped(*tasks)
            raise
        if failures:
            raise failures[0]


def again(message: AbstractIncomingMessage, message_id: str) -> Message:
    """As its sender published it: no attempts, no error, no deadline. Nobody waits for its answer any more."""
    own = {
        name: _encodable(value)
        for name, value in message.headers.items()
        if name not in headers.SPENT and not name.startswith(headers.BROKER_PREFIXES)
    }
    properties = Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=None,
        delivery_mode=headers.PERSISTENT,
        priority=headers.PRIORITY,
        correlation_id=message.correlation_id,
        type=message.type,
        app_id=message.app_id,
    )
    return Message(message.body, properties, message_id, own)


def _encodable(value: Any) -> Any:
    """pamqp decodes byte strings to a type that it does not encode."""
    if isinstance(value, bytes):
        return bytearray(value)
    if isinstance(value, list):
        return [_encodable(item) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {name: _encodable(item) for name, item in cast("Mapping[str, Any]", value).items()}
    return value
