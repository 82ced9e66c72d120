from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from memq_worker.observe.metrics import Metrics

_REASON_LIMIT = 300  # characters: the whole report has to fit its place in the slot

Status = Literal["up", "down", "unknown"]


@dataclass(slots=True)
class Dependency:
    """Result of the last check of a dependency. `reason` explains a status other than up."""

    status: Status = "unknown"
    latency_ms: float | None = None
    checked_at: str | None = None
    reason: str | None = "not checked yet"


class Health:
    """Readiness of a worker with its reasons, written to its slot for the endpoint."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._dependencies = {"rabbitmq": Dependency(), "qdrant": Dependency()}
        self._consuming = False
        self._held = self._refused = self._down = self._tenants = ""
        self._draining = False
        self._tell()

    def passed(self, name: str, latency_seconds: float) -> None:
        self._dependencies[name] = Dependency("up", round(latency_seconds * 1000, 3), _now(), None)
        self._tell()

    def failed(self, name: str, reason: str) -> None:
        self._dependencies[name] = Dependency("down", None, _now(), reason[:_REASON_LIMIT])
        self._tell()

    def up(self, name: str) -> bool:
        return self._dependencies[name].status == "up"

    def is_(
        self, *, consuming: bool, held: str, refused: str, draining: bool, down: str = "", tenants: str = ""
    ) -> None:
        """`held` is why writes wait, `refused` why copies do that the broker does not take; or empty.

        down: the queues whose node is down, or empty.   tenants: why no tenant's messages are taken, or empty.
        """
        before = (self._consuming, self._held, self._refused, self._draining, self._down, self._tenants)
        if before != (consuming, held, refused, draining, down, tenants):
            self._consuming, self._held, self._draining = consuming, held, draining
            self._refused, self._down, self._tenants = refused, down, tenants
            self._tell()

    @property
    def reasons(self) -> list[str]:
        """Why not ready."""
        found = [
            f"{name}: {dependency.reason}"
            for name, dependency in self._dependencies.items()
            if dependency.status != "up"
        ]
        if self._draining:
            found.append("draining: it was told to stop")
        elif not self._consuming:
            found.append(f"not consuming{f': {self._down} unavailable, its node is down' if self._down else ''}")
        if self._held:
            found.append(f"held: {self._held}")
        if self._refused:
            found.append(f"copies are not taken: {self._refused[:_REASON_LIMIT]}")
        if self._tenants:
            found.append(f"tenants: {self._tenants[:_REASON_LIMIT]}")
        return found

    def _tell(self) -> None:
        reasons = self.reasons
        self._metrics.ready(not reasons)
        self._metrics.slot.tell(
            {
                "ready": not reasons,
                "reasons": reasons,
                "consuming": self._consuming,
                "held": bool(self._held),
                "draining": self._draining,
                "dependencies": {name: asdict(found) for name, found in self._dependencies.items()},
            }
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
