"""Deliveries of a channel that are not settled: which ones, and how many there may be."""

import time

from memq_amqp import How, Settlement

# What is handed back by one settlement comes again in order on RabbitMQ 3.10 if it is no more.
_IN_ORDER = 32


class AckLedger:
    """Settled deliveries of one channel, and the fewest settlements that tell the broker of them.

    What is settled alike from the oldest on without a gap is one settlement with `multiple`; what is settled beyond the
    first open delivery is told by tag, so that a held message does not keep the others in the prefetch window.
    """

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}  # tag -> told the broker; in order of delivery
        self._settled: dict[int, How] = {}
        self._reported = 0  # entries of _open that the broker knows to be settled
        self.last = 0  # the tag of the latest delivery

    def __len__(self) -> int:
        """Deliveries that the broker counts as unacknowledged."""
        return len(self._open) - self._reported

    def delivered(self, tag: int) -> None:
        self._open[tag] = False
        self.last = tag

    def counted(self, after: int) -> int:
        """Count the deliveries after this tag that the broker counts as prefetched."""
        return sum(tag > after and not reported for tag, reported in self._open.items())

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
                if not self._open[tag]:
                    break
            elif told and told[-1].how is how and (how is How.ACK or run < _IN_ORDER):
                told[-1] = Settlement(how, tag, multiple=True)
                run += 1
            else:
                told.append(Settlement(how, tag, multiple=True))
                run = 1
            self._reported -= self._open.pop(tag)
        for tag in sorted(due):
            told.append(Settlement(due[tag], tag, multiple=False))
            self._open[tag] = True
            self._reported += 1
        return told


_FIRST = 64
_LOOKS = 32  # deliveries between one look and the next
_LEAST = 8
_ACTIVE_SECONDS = 10.0


class Budget:
    """Bytes of unsettled bodies, shared equally among the lanes that receive messages."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._seen: dict[object, float] = {}

    def share(self, lane: object) -> int:
        """Bytes that a lane may hold now, which has just received messages."""
        now = self._seen[lane] = time.monotonic()
        active = sum(now - seen < _ACTIVE_SECONDS for seen in self._seen.values())
        return self._most_bytes // active


class Prefetch:
    """Prefetch count of one consumer, so that the bodies of its deliveries stay within a number of bytes.

    RabbitMQ counts messages alone (it has no prefetch-size), so this goes by the mean size of the last 32. Until so
    many have been received the count is at most 64, and it is never below 8; with more than two lanes both limits are
    divided among them, down to one message each. Without a budget the count is `most`.
    """

    def __init__(self, most: int, budget: Budget | None = None, *, lanes: int = 1) -> None:
        self._least = max(1, min(_LEAST, 2 * _LEAST // lanes))
        self.count = most if budget is None else min(most, max(1, min(_FIRST, 2 * _FIRST // lanes)))
        self._most = most
        self._budget = budget
        self._seen = self._bytes = 0  # since the last look

    def add(self, size: int) -> None:
        """Take note of a delivery of so many bytes. `count` changes by half or double at least: that has a price."""
        if self._budget is None:
            return
        self._seen += 1
        self._bytes += size
        if self._seen == _LOOKS:
            most_bytes = self._budget.share(self)
            wanted = min(self._most, max(self._least, most_bytes * _LOOKS // max(self._bytes, _LOOKS)))
            self._seen = self._bytes = 0
            if wanted >= 2 * self.count or 2 * wanted <= self.count or wanted == self._most:
                self.count = wanted
