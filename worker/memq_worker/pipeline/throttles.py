import time

from memq_worker.errors import Throttled

_REACHED = "the collection's rate limit in the store is reached"


class Throttles:
    """Collections whose rate limit in the store is reached, each until a time on the monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def close(self, collection: str, seconds: float) -> None:
        now = time.monotonic()
        self._until = {name: until for name, until in self._until.items() if until > now}
        self._until[collection] = max(self._until.get(collection, 0.0), now + seconds)

    def of(self, collection: str) -> Throttled | None:
        """Return the error of a write to `collection`, with the time that is left; None if it may be written."""
        if not self._until:
            return None
        seconds = self._until.get(collection, 0.0) - time.monotonic()
        return Throttled(_REACHED, retry_after_seconds=seconds) if seconds > 0 else None
