"""Deliveries of a channel that are not settled: which ones, and how many there may be."""

import time


class AckLedger:
    """Settled deliveries of one channel, and the fewest acknowledgements for them.

    What is done from the oldest on without a gap is one acknowledgement with `multiple`; what is done beyond the first
    open delivery is acknowledged by tag, so that a held message does not keep the others in the prefetch window.
    """

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}  # tag -> told the broker; in order of delivery
        self._done: list[int] = []
        self._returned: list[tuple[int, bool]] = []
        self._reported = 0  # entries of _open that the broker knows to be acknowledged
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

    def ack(self, tag: int) -> None:
        self._done.append(tag)

    def nack(self, tag: int, *, requeue: bool) -> None:
        self._returned.append((tag, requeue))

    def take(self, *, requeued: bool = True) -> tuple[list[tuple[int, bool]], list[tuple[int, bool]]]:
        """Acknowledgements as (tag, multiple), and what goes back as (tag, requeue): to be sent before the others.

        A multiple acknowledgement covers every older tag, so what goes back has to be back before it. What is to be
        queued again is oldest first, since a quorum queue gives it out again in the order in which it came back; it
        stays here unless `requeued`.
        """
        returned = sorted(each for each in self._returned if requeued or not each[1])
        self._returned = [] if requeued else [each for each in self._returned if each[1]]
        for tag, _ in returned:
            self._reported -= self._open.pop(tag, False)
        done = set(self._done)
        self._done = []
        mark = None
        for tag in list(self._open):
            if tag in done:
                mark = tag
            elif not self._open[tag]:
                break
            self._reported -= self._open.pop(tag)
        acks = [] if mark is None else [(mark, True)]
        for tag in sorted(done):
            if tag in self._open:
                self._reported += not self._open[tag]
                self._open[tag] = True
                acks.append((tag, False))
        return acks, returned


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
