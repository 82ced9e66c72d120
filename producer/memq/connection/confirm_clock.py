from __future__ import annotations

from time import monotonic


class ConfirmClock:
    """Time without a confirm in one session, whether the broker is silent or refuses every publish.

    A channel opened while a quorum queue elects its leader can be refused for ever (RabbitMQ 3.10.8), and another one
    of the same broker at the same time is not. Not idle time: it runs only from a publish on.
    """

    def __init__(self) -> None:
        self.last_confirm = monotonic()
        self._first: float | None = None  # when the first publish after that began

    def begun(self) -> float:
        """A publish begins now, in the time of `seconds`."""
        now = monotonic()
        if self._first is None:
            self._first = now
        return now

    def confirmed(self) -> None:
        """Note that the broker has confirmed or returned a message."""
        self.last_confirm = monotonic()
        self._first = None

    def seconds(self, begun: float) -> float:
        """Seconds without a confirm since a publish that still waits."""
        first = self.last_confirm if self._first is None or begun < self.last_confirm else self._first
        return monotonic() - first
