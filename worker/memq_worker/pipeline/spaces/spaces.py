from collections.abc import Mapping
from dataclasses import replace

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError, WorkerError
from memq_worker.pipeline.outcome import DeadLetter, Outcome, Refuse, Retry
from memq_worker.pipeline.spaces.space import Space


class Spaces:
    """Spaces of the tenants that exist, by name. Replaced as a whole when the tenants file changes."""

    def __init__(self, by_tenant: Mapping[str, Space] | None = None) -> None:
        self._by_tenant = dict(by_tenant or {})

    def replace(self, by_tenant: Mapping[str, Space]) -> None:
        self._by_tenant = dict(by_tenant)

    def of(self, tenant: str) -> Space:
        """Raise MessageError for a tenant that does not exist."""
        space = self._by_tenant.get(tenant)
        if space is None:
            raise MessageError(ErrorCode.FORBIDDEN, "the tenant does not exist", stage="decode")
        return space

    def retold(self, tenant: str, outcome: Outcome) -> Outcome:
        """Return an outcome whose error, if it has one, uses the tenant's own names."""
        space = self._by_tenant.get(tenant)
        if space is None or not isinstance(outcome, Retry | DeadLetter | Refuse):
            return outcome
        return replace(outcome, error=_retold(outcome.error, space))


NO_TENANTS = Spaces()


def _retold(error: WorkerError, space: Space) -> WorkerError:
    message, answer = space.retold(error.message), space.retold(error.answer)
    if (message, answer) == (error.message, error.answer):
        return error
    return error.reworded(message, answer)
