"""Publishing with confirms: the only module that knows how a message reaches the broker."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiormq.exceptions
import pamqp.exceptions

from memq.errors import Unroutable

if TYPE_CHECKING:
    from collections.abc import Generator

    from aio_pika import Message
    from aio_pika.abc import AbstractExchange


class Lost(Exception):
    """The channel or connection went away; whether the broker has the message is unknown."""


class Refused(Exception):
    """The broker nacked the message: a full queue, or a leader election."""


GONE = (aiormq.exceptions.AMQPError, pamqp.exceptions.PAMQPException, OSError, RuntimeError)


@contextmanager
def losing() -> Generator[None]:
    """Turns every way in which aiormq says that a connection or channel is gone into Lost."""
    task = asyncio.current_task()
    cancels = task.cancelling() if task else 0
    try:
        yield
    except GONE as error:
        raise Lost(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        # aiormq cancels what waits on a connection that died; nobody asked our task to stop.
        if task is not None and task.cancelling() > cancels:
            raise
        raise Lost("the connection was lost") from error


class Publisher:
    """Takes the exchange of a channel that raises on returned messages and that nobody else uses."""

    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange

    @property
    def exchange(self) -> str:
        return self._exchange.name

    async def publish(self, message: Message, routing_key: str) -> None:
        """Returns once the broker has confirmed. Raises Unroutable, Refused or Lost; has no timeout of its own."""
        with losing():
            try:
                await self._exchange.publish(message, routing_key, mandatory=True)
            except aiormq.exceptions.PublishError:
                raise Unroutable(
                    f"no queue takes {routing_key}: "
                    "declare memq's topology with `memq-worker declare`, or start a worker"
                ) from None
            except aiormq.exceptions.DeliveryError as error:
                raise Refused("the broker refused the message (queue full, or it is electing a leader)") from error
