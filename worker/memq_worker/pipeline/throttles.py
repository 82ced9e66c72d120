import time


class Throttles:
    """Collections whose rate limit in the store is reached, each until a time on the monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def close(self, collection: str, seconds: float) -> None:
        now = time.monotonic()
        self._until = {name: until for name, until in self._until.items() if until > now}
        self._until[collection] = max(self._until.get(collection, 0.0), now + seconds)

    def seconds_left(self, collection: str) -> float:
        """Return how long writes to `collection` have to wait; 0 if they need not."""
        if not self._until:
            return 0.0
        return max(0.0, self._until.get(collection, 0.0) - time.monotonic())
