"""Access to parts of aiormq's channel beyond its abstract class."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiormq.abc import ChannelFrame

from memq_amqp.loss import MessageRefused
from memq_amqp.refusals import Kind, Refusal
from memq_amqp.wire.frames import AROUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiormq.abc import AbstractChannel


async def send(channel: AbstractChannel, payload: bytes) -> None:
    """Frames, encoded, in the order of the calls; returns when they are queued for the connection's writer."""
    await cast("Any", channel).write_queue.put(ChannelFrame(payload=payload, should_close=False))


async def send_through(channel: AbstractChannel, payload: bytes) -> None:
    """`send`, returning when the socket has taken the frames."""
    drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    frame = ChannelFrame(payload=payload, should_close=False, drain_future=drained)
    await cast("Any", channel).write_queue.put(frame)
    await drained


def on_closing(channel: AbstractChannel, callback: Callable[[BaseException | None], None]) -> None:
    """Call back once the channel is closed or its connection is gone: with the reason, if there is one."""

    def closing(future: asyncio.Future[Any]) -> None:
        callback(None if future.cancelled() else future.exception())

    cast("Any", channel).closing.add_done_callback(closing)


# A frame is at most what the broker said at the handshake.
_UNLIMITED = 1 << 17
_BEFORE_PROPERTIES = 12  # bytes of a content header


def largest_frame(channel: AbstractChannel) -> int:
    """Bytes of the largest payload of a frame."""
    return (channel.connection.connection_tune.frame_max or _UNLIMITED) - AROUND


def check_room(properties: bytes, largest: int) -> None:
    """Raise MessageRefused for a property list that does not fit a frame: the broker closes the connection then."""
    size = _BEFORE_PROPERTIES + len(properties)
    if size > largest:
        text = f"properties: {size} bytes with their frame's header, the broker takes {largest} in one frame"
        raise MessageRefused(Refusal(Kind.HEADERS_TOO_LARGE, text, limit=largest))
