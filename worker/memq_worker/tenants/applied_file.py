"""The tenants file that was applied last, as the broker keeps it: one message in the queue `<prefix>.tenants`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from memq_worker.errors import ConfigurationError
from memq_worker.tenants.file import TenantsFile


@dataclass(frozen=True, slots=True)
class AppliedFile:
    """generation, digest: of the file.

    removed: epoch seconds of the removal, by tenant whose messages workers discard.
    draining: epoch seconds of the move to the shared lane, by tenant, while the queues of its own lane are there.
    """

    generation: int
    digest: str
    removed: Mapping[str, float] = field(default_factory=dict[str, float])
    draining: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def read(cls, body: bytes, queue: str) -> "AppliedFile":
        """Raise ConfigurationError for a message that `memq-worker tenants apply` has not written."""
        try:
            fields = cast("dict[str, Any]", json.loads(body))
            removed, draining = (
                {str(name): float(at) for name, at in fields[key].items()} for key in ("removed", "draining")
            )
            return cls(int(fields["generation"]), str(fields["digest"]), removed, draining)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigurationError(
                f"queue {queue!r} holds a message that is not the generation of a tenants file: empty the queue and "
                "run memq-worker tenants apply"
            ) from None

    def body(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def outdates(self, own: TenantsFile | None) -> str:
        """Why a worker with the file `own` may take no tenant's messages; empty if it may."""
        if own is None:
            return f"no tenants file, the broker has generation {self.generation}: set MEMQ_TENANTS_FILE"
        if own.generation < self.generation:
            return f"tenants file of generation {own.generation}, the broker has generation {self.generation}"
        if own.generation == self.generation and own.digest != self.digest:
            return (
                f"tenants file of generation {own.generation} with other content than the one applied under this "
                "generation: raise the generation with every change"
            )
        return ""
