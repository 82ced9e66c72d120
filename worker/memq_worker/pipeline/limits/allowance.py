"""What one tenant may still do now, of its limits in the tenants file."""

from collections.abc import Callable

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError, Throttled
from memq_worker.pipeline.limits.bucket import Bucket
from memq_worker.tenants.file import Limits

_REQUEST = 1.0  # tokens
_AGAIN_SECONDS = 0.1  # until another request has been answered
_WEIGHT = 0.1  # of the newest message in the mean


class Allowance:
    """Account of one tenant in one worker, which has an equal share of every rate."""

    def __init__(self, limits: Limits, reached: Callable[[str], None] = lambda _: None) -> None:
        """reached: called with the name of a limit each time that it holds the tenant back."""
        self.limits = limits
        self.note = reached
        self._points = None if limits.points_per_second is None else Bucket(limits.points_per_second)
        self._bytes = None if limits.bytes_per_second is None else Bucket(limits.bytes_per_second)
        rate = limits.requests_per_second
        self._requests = None if rate is None else Bucket(rate, tokens=_REQUEST)
        self._asking = 0
        self._workers = 1
        self._mean_points = self._mean_bytes = 1.0

    def share(self, workers: int) -> None:
        """Take an equal share among so many workers."""
        self._workers = workers
        for bucket in (self._points, self._bytes, self._requests):
            if bucket is not None:
                bucket.share = workers

    def check_size(self, size: int) -> None:
        """Raise MessageError for a body that is too large."""
        most = self.limits.message_bytes
        if most is not None and size > most:
            self.note("message_bytes")
            raise MessageError(
                ErrorCode.TOO_LARGE, f"body: {size} bytes, the tenant's message_bytes is {most}", stage="decode"
            )

    def ask(self) -> None:
        """Count a request. Raise Throttled, naming the limit, if it is one too many now."""
        most = self.limits.concurrency
        if self.crowded:
            self.note("concurrency")
            raise throttled("concurrency", f"{most} unanswered requests")
        if self._requests is None:
            return
        seconds = self._requests.wait(_REQUEST)
        if seconds > 0:
            self.note("requests_per_second")
            rate = self.limits.requests_per_second
            raise throttled("requests_per_second", f"{rate:g} requests per second", seconds)
        self._requests.take(_REQUEST)

    def asked(self, requests: int) -> None:
        """Count requests that come with one that was counted. What they take too much, later ones wait for."""
        if self._requests is not None:
            self._requests.take(_REQUEST * requests)

    @property
    def crowded(self) -> bool:
        """Return True while this worker answers as many requests of the tenant as its share of `concurrency`."""
        most = self.limits.concurrency
        return most is not None and self._asking >= max(1, most // self._workers)

    def asking(self) -> None:
        self._asking += 1

    def answered(self) -> None:
        self._asking -= 1

    def write(self, points: int, size: int) -> None:
        """Count a write of so many points and bytes, which is done in any case."""
        self._mean_points += (max(points, 1) - self._mean_points) * _WEIGHT
        self._mean_bytes += (size - self._mean_bytes) * _WEIGHT
        if self._points is not None:
            self._points.take(max(points, 1))
        if self._bytes is not None:
            self._bytes.take(size)

    @property
    def rest(self) -> float:
        """Seconds until the tenant may write again; 0 if it may write now."""
        return max(0.0 if bucket is None else bucket.wait() for bucket in (self._points, self._bytes))

    @property
    def window(self) -> int | None:
        """Messages that may be on their way to this worker: about an eighth of a second's worth. None for no limit."""
        worth = [
            bucket.rate / mean
            for bucket, mean in ((self._points, self._mean_points), (self._bytes, self._mean_bytes))
            if bucket is not None
        ]
        return max(1, int(min(worth) / 8)) if worth else None

    @property
    def reached(self) -> list[str]:
        """Names of the rate limits that are reached now."""
        named = (
            ("points_per_second", self._points, 0.0),
            ("bytes_per_second", self._bytes, 0.0),
            ("requests_per_second", self._requests, _REQUEST),
        )
        return [name for name, bucket, tokens in named if bucket is not None and bucket.wait(tokens) > 0]


def throttled(name: str, limit: str, seconds: float = _AGAIN_SECONDS) -> Throttled:
    """Return the error for a request above a limit; it names the limit."""
    return Throttled(
        f"{name}: the tenant's limit of {limit} is reached", stage="decode", retry_after_seconds=round(seconds, 3)
    )
