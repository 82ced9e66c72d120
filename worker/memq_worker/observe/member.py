import time
from dataclasses import dataclass, field

from memq_worker.observe.slot import Slot

# A loop that has not run for this long is stuck: its worker settles nothing, answers no heartbeat, and sees no signal.
STUCK_SECONDS = 5.0
# Importing gRPC and friends takes seconds on a busy machine.
STARTING_SECONDS = 60.0


@dataclass
class Member:
    """One place in a pool, as the process that fills it knows it. `number` is the label `worker` of its metrics."""

    number: int
    slot: Slot
    pid: int | None = None
    restarts: int = 0
    since: float = field(default_factory=time.monotonic)

    def started(self, pid: int) -> None:
        self.pid = pid
        self.since = time.monotonic()

    def ended(self) -> None:
        self.pid = None
        self.slot.clear()

    @property
    def stuck_seconds(self) -> float | None:
        """Seconds since the event loop stopped running; None if it runs or there is no process."""
        if self.pid is None:
            return None
        age = self.slot.beat_age_seconds
        if age is None:
            age = time.monotonic() - self.since
            return age if age > STARTING_SECONDS else None
        return age if age > STUCK_SECONDS else None
