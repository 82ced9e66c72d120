from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader

from memq_worker.amqp.inline import InlineDeliveries


class Frames:
    """The part of an aiormq channel that is replaced: a queue of (weight, frame)."""

    def __init__(self) -> None:
        self.frames: Any = asyncio.Queue()


def frames(tag: int, body: bytes, size: int) -> list[Any]:
    parts = [ContentBody(body[at : at + size]) for at in range(0, len(body), size)]
    return [Basic.Deliver("c", tag, False, "x", "k"), ContentHeader(0, len(body), Basic.Properties()), *parts]


@given(bodies=st.lists(st.binary(max_size=50), max_size=10), size=st.integers(1, 20), ack_between=st.booleans())
async def test_bodies_arrive_whole_and_in_order_and_the_rest_goes_on(
    bodies: list[bytes], size: int, ack_between: bool
) -> None:
    channel, taken = Frames(), list[tuple[int | None, bytes]]()
    behind = channel.frames
    hook = InlineDeliveries(channel, lambda deliver, _, body: taken.append((deliver.delivery_tag, body)))  # type: ignore[arg-type]
    assert channel.frames is hook
    for tag, body in enumerate(bodies):
        for frame in frames(tag, body, size):
            await channel.frames.put((1, frame))
        if ack_between:
            await channel.frames.put((1, Basic.CancelOk("c")))
    assert taken == list(enumerate(bodies))
    assert behind.qsize() == (len(bodies) if ack_between else 0)


async def test_a_close_in_the_middle_of_a_delivery_reaches_the_channel_and_drops_the_rest() -> None:
    channel, taken = Frames(), list[bytes]()
    InlineDeliveries(channel, lambda _, __, body: taken.append(body))  # type: ignore[arg-type]
    deliver, header, *parts = frames(1, b"abcdef", 3)
    for frame in (deliver, header, parts[0], Channel.Close(320, "x", 0, 0)):
        await channel.frames.put((1, frame))
    _, frame = await channel.frames.get()
    channel.frames.task_done()
    assert isinstance(frame, Channel.Close)
    for frame in frames(2, b"next", 2):
        await channel.frames.put((1, frame))
    assert taken == [b"next"]
