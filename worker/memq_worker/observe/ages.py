import time
from collections.abc import Mapping

from memq_worker.observe.catalogue import CONSUMED

_PEEK_SECONDS = 60.0
# A look counts as a delivery before RabbitMQ 4.3, and a policy may limit those: no message is lost by being looked at.
_LOOKS = 3


class Ages:
    """Age of the oldest ready message of each queue, estimated without consuming it.

    published: by queue, when what was settled last was published, in epoch seconds. For queues whose messages nobody
    settles here it is the time since they were last seen empty; for a retry queue that is at most its delay.
    """

    def __init__(self, published: Mapping[str, float]) -> None:
        self._published = published
        self._empty: dict[str, float] = {}
        self._head: float | None = None
        self._peeked: float | None = None
        self._spared = False  # the head has been looked at often enough

    def age(self, role: str, queue: str, messages: int) -> float:
        """Age in seconds for a queue with `messages` ready; 0 if it is empty."""
        now = time.monotonic()
        # Before the first look nothing is known, and a worker that has just come says nothing of the time before.
        empty = self._empty.setdefault(role, now)
        if not messages:
            self._empty[role] = now
            if role == "dead":
                self._head, self._spared = None, False
            return 0.0
        published = self._published.get(queue) if role in CONSUMED else self._head if role == "dead" else None
        if published is not None:
            return max(0.0, time.time() - published)
        _, retry, seconds = role.partition("retry.")
        return min(now - empty, float(seconds)) if retry else now - empty

    def wants_head(self, messages: int) -> bool:
        """Return True if the head of the dead-letter queue is due for a look, which gets and requeues it."""
        due = self._peeked is None or time.monotonic() - self._peeked >= _PEEK_SECONDS
        return messages > 0 and due and not self._spared

    def peeked(self) -> None:
        self._peeked = time.monotonic()

    def head(self, published: float | None, looks: int) -> None:
        """Note the head of the dead letters. After 3 looks at it the last known age stays until the queue is empty."""
        self.peeked()
        self._head = published
        self._spared = looks >= _LOOKS
