import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, cast

from aiormq.abc import AbstractChannel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

logger = logging.getLogger(__name__)

Take = Callable[[Basic.Deliver, ContentHeader, bytes], None]

# What is replaced below is no public interface of aiormq, so only releases whose reader has been read are trusted.
_KNOWN = ("7.2.",)


class InlineDeliveries:
    """Stands in front of an aiormq channel's frame queue and puts deliveries together itself.

    aiormq makes three hops through a queue and a task of every delivery, which is most of what a small message costs.
    Everything that is not part of a delivery goes on to the channel as before.
    """

    def __init__(self, channel: AbstractChannel, take: Take) -> None:
        inner = cast("Any", channel)
        self._frames = inner.frames
        self._take = take
        self._deliver: Basic.Deliver | None = None
        self._header: ContentHeader | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        inner.frames = self

    async def get(self) -> Any:
        return await self._frames.get()

    def task_done(self) -> None:
        self._frames.task_done()

    async def put(self, item: tuple[int, Any]) -> None:
        frame = item[1]
        if isinstance(frame, Basic.Deliver):
            self._deliver = frame
        elif self._deliver is None:
            await self._frames.put(item)
        elif isinstance(frame, ContentHeader):
            self._header = frame
            self._missing = frame.body_size
            if not self._missing:
                self._complete(b"")
        elif isinstance(frame, ContentBody):
            self._part(frame.value or b"")
        else:
            # The broker never interleaves methods with content on one channel, but a close may cut a delivery short.
            self._deliver = self._header = None
            self._parts = []
            await self._frames.put(item)

    def _part(self, part: bytes) -> None:
        self._missing -= len(part)
        if self._missing > 0:
            self._parts.append(part)
        elif self._parts:
            self._parts.append(part)
            self._complete(b"".join(self._parts))
        else:
            self._complete(part)

    def _complete(self, body: bytes) -> None:
        deliver, header = self._deliver, self._header
        self._deliver = self._header = None
        self._parts = []
        assert deliver is not None
        assert header is not None
        self._take(deliver, header, body)


def usable(channel: AbstractChannel) -> bool:
    """Whether this release of aiormq is one whose frames are understood; if not, says so once a channel."""
    installed = version("aiormq")
    if installed.startswith(_KNOWN) and all(hasattr(getattr(channel, "frames", None), n) for n in ("get", "put")):
        return True
    logger.warning("consuming through aiormq's own tasks", extra={"aiormq": installed, "known": ", ".join(_KNOWN)})
    return False
