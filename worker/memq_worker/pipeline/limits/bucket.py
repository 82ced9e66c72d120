import time
from collections.abc import Callable

_BURST_SECONDS = 0.25


class Bucket:
    """Tokens of a rate limit. They may be overdrawn: what was taken beyond is waited for afterwards.

    So the mean rate is exact whatever the size of a message, and a message larger than a second's tokens passes.
    """

    def __init__(self, per_second: float, now: Callable[[], float] | None = None, *, tokens: float = 0.0) -> None:
        """now: a clock in seconds, by default the monotonic one.   tokens: those that are there at first."""
        self._per_second = per_second
        self._now = now or time.monotonic
        self._at = self._now()
        self._tokens = tokens
        self.share = 1

    @property
    def rate(self) -> float:
        """Tokens per second of this worker: the limit is shared equally by `share` workers."""
        return self._per_second / self.share

    def take(self, tokens: float) -> None:
        self._fill()
        self._tokens -= tokens

    def _fill(self) -> None:
        now = self._now()
        # At least one token: a rate below one in the burst time would never have a whole one.
        most = max(self.rate * _BURST_SECONDS, 1.0)
        self._tokens = min(most, self._tokens + (now - self._at) * self.rate)
        self._at = now

    def wait(self, tokens: float = 0.0) -> float:
        """Return the seconds until there are so many tokens, and the debt is paid; 0 if that is now."""
        self._fill()
        return max(0.0, (tokens - self._tokens) / self.rate)
