"""Deliveries that are not settled: which ones, their bytes, and how many there may be."""

import time
from typing import Protocol

from memq_amqp import How, Settlement

# What is handed back by one settlement comes again in order on RabbitMQ 3.10 if it is no more.
_IN_ORDER = 32
_REPORTED = -1


class AckLedger:
    """Settled deliveries of one channel, and the fewest settlements that tell the broker of them.

    What is settled alike from the oldest on without a gap is one settlement with `multiple`; what is settled beyond the
    first open delivery is told by tag, so that a held message does not keep the others in the prefetch window.
    """

    def __init__(self) -> None:
        self._open: dict[int, int] = {}  # by tag, in order of delivery: bytes, or _REPORTED once the broker knows
        self._settled: dict[int, How] = {}
        self._reported = 0  # entries of _open that the broker knows to be settled
        self.last = 0  # the tag of the latest delivery
        self.size = 0  # bytes of the bodies that the broker counts as unacknowledged

    def __len__(self) -> int:
        """Deliveries that the broker counts as unacknowledged."""
        return len(self._open) - self._reported

    def delivered(self, tag: int, size: int = 0) -> None:
        self._open[tag] = size
        self.size += size
        self.last = tag

    def counted(self, after: int) -> int:
        """Count the deliveries after this tag that the broker counts as prefetched."""
        return sum(tag > after and size != _REPORTED for tag, size in self._open.items())

    def settle(self, tag: int, how: How) -> None:
        self._settled[tag] = how

    def take(self, *, requeued: bool = True) -> list[Settlement]:
        """Return what the broker has to be told. What is to be queued again is last, and stays unless `requeued`.

        It is oldest first, since a quorum queue gives it out again in the order in which it came back.
        """
        if not self._settled:
            return []
        back = {tag: how for tag, how in self._settled.items() if how is How.REQUEUE}
        told = self._told({tag: how for tag, how in self._settled.items() if tag not in back})
        self._settled = {} if requeued else back
        return told + self._told(back) if requeued else told

    def _told(self, due: dict[int, How]) -> list[Settlement]:
        told: list[Settlement] = []
        run = 0
        for tag in list(self._open) if due else ():
            if (how := due.pop(tag, None)) is None:
                if self._open[tag] != _REPORTED:
                    break
            elif told and told[-1].how is how and (how is How.ACK or run < _IN_ORDER):
                told[-1] = Settlement(how, tag, multiple=True)
                run += 1
            else:
                told.append(Settlement(how, tag, multiple=True))
                run = 1
            if (size := self._open.pop(tag)) == _REPORTED:
                self._reported -= 1
            else:
                self.size -= size
        for tag in sorted(due):
            told.append(Settlement(due[tag], tag, multiple=False))
            self.size -= self._open[tag]
            self._open[tag] = _REPORTED
            self._reported += 1
        return told


class HeldBytes:
    """Bytes of the unsettled bodies of a worker, of which there should be at most `most`.

    yielding: of lanes that may be paused.   settled: whether any were settled since lanes were last paused or resumed.
    waiting: paused lanes, new ones at the front and then the one that was paused first.
    """

    __slots__ = ("held", "most", "settled", "waiting", "yielding")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = self.yielding = 0
        self.settled = False
        self.waiting: dict[LaneBytes, None] = {}


class Consumer(Protocol):
    """The consumer of a lane."""

    @property
    def queue(self) -> str: ...

    def renew_prefetch(self) -> int: ...

    async def stop_consuming(self, timeout: float, why: str) -> None: ...

    async def resume_consuming(self, timeout: float, why: str) -> None: ...


class Pause(Protocol):
    """Pauses and resumes lanes. Only told of deliveries that it has to look at."""

    def delivered(self, lane: "LaneBytes", size: int) -> None: ...

    def look(self) -> None: ...

    def leave(self, lane: "LaneBytes") -> None: ...


class LaneBytes:
    """Bytes of the unsettled bodies of one lane.

    size: of its latest body.   received: in its current turn.   expected: of the `due` bodies that it is about to
    receive since it was resumed.
    """

    __slots__ = ("_pause", "_total", "consumer", "due", "expected", "held", "paused", "received", "size", "yields")

    def __init__(self, total: HeldBytes, pause: Pause, consumer: Consumer, *, yields: bool) -> None:
        """yields: the lane may be paused."""
        self._total = total
        self._pause = pause
        self.consumer = consumer
        self.yields = yields
        self.paused = False
        self.held = self.size = self.received = self.expected = self.due = 0

    def delivered(self, size: int) -> None:
        self._add(size)
        self.size = size
        if self._total.waiting or self.expected or self._total.held > self._total.most:
            self._pause.delivered(self, size)

    def settled(self, size: int) -> None:
        self._add(-size)
        self._total.settled = True
        if self._total.waiting:
            self._pause.look()

    def leave(self) -> None:
        """End with the consumer, whose unsettled deliveries the broker has again."""
        self._add(-self.held)
        self._pause.leave(self)

    def _add(self, size: int) -> None:
        self.held += size
        self._total.held += size
        if self.yields:
            self._total.yielding += size


_FIRST = 64
_LOOKS = 32  # deliveries between one look and the next
_LEAST = 8
_FEW_LANES = 2
_FIRST_LOOK = 4  # deliveries before the first look of one among many lanes, which begins with one message
_ACTIVE_SECONDS = 10.0


class Limit(Protocol):
    """The limit on the bytes of unsettled bodies."""

    @property
    def most(self) -> int: ...

    @property
    def paused(self) -> int:
        """Number of lanes that wait until they may receive messages."""
        ...


class Budget:
    """Bytes of unsettled bodies, shared equally among the lanes that receive messages.

    An eighth is left for bodies that are larger than their lane's mean, since beyond the limit lanes are paused.
    """

    def __init__(self, pause: Limit) -> None:
        self._most_bytes = pause.most - pause.most // 8
        self._pause = pause
        self._seen: dict[object, float] = {}

    def share(self, lane: object) -> int:
        """Bytes that a lane may hold now, which has just received messages."""
        now = self._seen[lane] = time.monotonic()
        active = sum(now - seen < _ACTIVE_SECONDS for seen in self._seen.values())
        return self._most_bytes // max(active, 1 + self._pause.paused)


class Prefetch:
    """Prefetch count of one consumer, so that the bodies of its deliveries stay within a number of bytes.

    RabbitMQ counts messages alone (it has no prefetch-size), so this goes by the mean size of the last 32. With one or
    two lanes the count is at most 64 until so many have been received, and never below 8. With more lanes it begins
    with one message, and may be one. Without a budget the count is `most`.
    """

    def __init__(self, most: int, budget: Budget | None = None, *, lanes: int = 1) -> None:
        many = lanes > _FEW_LANES
        self._least = 1 if many else _LEAST
        self._looks = _FIRST_LOOK if many else _LOOKS
        self.count = most if budget is None else 1 if many else min(most, _FIRST)
        self._wanted = self.count
        self._most = most
        self._budget = budget
        self._seen = self._bytes = 0  # since the last look

    def add(self, size: int) -> None:
        """Take note of a delivery of so many bytes. `count` changes by half or double at least: that has a price."""
        if self._budget is None:
            return
        self._seen += 1
        self._bytes += size
        if self._seen == self._looks:
            most_bytes = self._budget.share(self)
            wanted = min(self._most, max(self._least, most_bytes * self._looks // max(self._bytes, self._looks)))
            self._wanted = wanted
            self._seen = self._bytes = 0
            self._looks = _LOOKS
            if wanted >= 2 * self.count or 2 * wanted <= self.count or wanted == self._most:
                self.count = wanted

    def renew(self) -> None:
        """Let the count be what was last found right: the consumer begins anew, so the change has no price."""
        self.count = self._wanted
