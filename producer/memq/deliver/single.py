from __future__ import annotations

from typing import TYPE_CHECKING

from memq.encode.points import PointJson
from memq.encode.splitter import body, fitting
from memq.errors import MemqError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq.answers import Receipt
    from memq.deliver.sender import Outgoing
    from memq.deliver.way import Way


async def single(
    way: Way,
    row: object,
    max_bytes: int,
    outgoing: Callable[[bytes], Outgoing],
    progress: Callable[[Receipt], None] | None,
    encode: PointJson | None = None,
) -> Receipt:
    """Deliver a call of one point, without the splitting, counting and ordering of `Writes`.

    Many programs write no other way, and all that would cost them half as much again.
    """
    positions = None
    try:
        if way.asks:
            await way.begun()
        message = outgoing(body((fitting(0, (encode or PointJson()).row(0, row), max_bytes),)))
        size, positions = len(message.body), range(1)
        if not way.window.take(size):
            await way.room(message)
        try:
            elapsed = await way.deliver(message)
        finally:
            way.window.release(size)
    except MemqError as error:
        error.points, error.confirmed = positions, way.receipt(0, 0, 0, None)
        raise
    receipt = way.receipt(1, 1, 1, elapsed)
    if progress is not None:
        progress(receipt)
    return receipt
