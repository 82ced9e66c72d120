import time

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
