from dataclasses import dataclass

from memq_schemas.topology import RETRY_SECONDS


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempt n waits in tier n, the last tier repeating, until `max_attempts` have been made."""

    max_attempts: int
    in_place: bool = False  # a failed write waits here, its ids in flight, so that no later one of them passes it

    def next_seconds(self, attempt: int) -> int | None:
        """The tier to wait in after a failed `attempt` (from 1); None when it was the last."""
        if attempt >= self.max_attempts:
            return None
        return RETRY_SECONDS[min(max(attempt, 1), len(RETRY_SECONDS)) - 1]


def tier(seconds: float) -> int:
    """Return the shortest tier of at least `seconds`, or the longest there is."""
    return next((each for each in RETRY_SECONDS if each >= seconds), RETRY_SECONDS[-1])
