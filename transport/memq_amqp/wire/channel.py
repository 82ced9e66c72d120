"""What is used of aiormq's channel beyond its abstract class."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiormq.abc import ChannelFrame

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


def on_closing(channel: AbstractChannel, callback: Callable[[str], None]) -> None:
    """Once the channel is closed, by whomever, or its connection is gone: called with the reason, "" where none is."""

    def closing(future: asyncio.Future[Any]) -> None:
        callback("" if future.cancelled() else str(future.exception() or ""))

    cast("Any", channel).closing.add_done_callback(closing)
