"""Named points in the life of a message at which a worker can be made to die. Patched in from outside the product."""

from __future__ import annotations

import functools
import inspect
import os
import signal
from typing import TYPE_CHECKING, Any

from memq_worker.amqp.link import ConsumerLink
from memq_worker.pipeline.settle import Settler
from memq_worker.qdrant.client import QdrantStore

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = ("before store", "after store", "mid batch", "mid reply", "after copy")

_PLACES: dict[str, tuple[type, str, bool]] = {
    # name: class, method, whether the method is let through before the worker dies
    "before store": (QdrantStore, "upsert", False),
    "after store": (QdrantStore, "upsert", True),
    "mid batch": (ConsumerLink, "ack", True),
    "mid reply": (Settler, "_reply", True),
    "after copy": (Settler, "_move", True),
}


class Trap:
    """Kills this process the `passes`-th time that the point is reached, unless disarmed before."""

    def __init__(self, point: str, passes: int, die: Callable[[], None] | None = None) -> None:
        self._left = passes
        self._die = die or _die
        self.armed = True
        self._set(point)

    def _set(self, point: str) -> None:
        owner, name, after = _PLACES[point]
        original: Any = getattr(owner, name)

        if not inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            def passed(*args: Any, **more: Any) -> Any:
                done = original(*args, **more)
                self._passed()
                return done

            setattr(owner, name, passed)
            return

        @functools.wraps(original)
        async def reached(*args: Any, **more: Any) -> Any:
            if not after:
                self._passed()
            done = await original(*args, **more)
            if after:
                self._passed()
            return done

        setattr(owner, name, reached)

    def _passed(self) -> None:
        self._left -= 1
        if self.armed and self._left <= 0:
            self._die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_on(key: int) -> None:
    """This worker dies whenever it is about to write the point `key`: a message that kills."""
    original = QdrantStore.upsert

    async def upsert(self: QdrantStore, collection: str, points: Any) -> None:
        if key in points.ids:
            _die()
        await original(self, collection, points)

    QdrantStore.upsert = upsert  # type: ignore[method-assign]
