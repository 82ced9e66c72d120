from collections.abc import Callable, Mapping
from functools import partial

from memq_worker.pipeline.limits.allowance import Allowance
from memq_worker.tenants.file import Limits


class Allowances:
    """Accounts of the tenants that have limits, by name."""

    def __init__(
        self, limits: Mapping[str, Limits] | None = None, reached: Callable[[str, str], None] | None = None
    ) -> None:
        """reached: called with tenant and limit each time that a limit holds a tenant back."""
        self.note = reached or _unheard
        self._by_tenant: dict[str, Allowance] = {}
        self._workers = 1
        self.replace(limits or {})

    def __bool__(self) -> bool:
        """Return True if any tenant has a limit."""
        return bool(self._by_tenant)

    def replace(self, limits: Mapping[str, Limits]) -> None:
        """Take over the limits of all tenants. The account of a tenant whose limits stay the same goes on."""
        before, self._by_tenant = self._by_tenant, {}
        for tenant, given in limits.items():
            if given == Limits():
                continue
            known = before.get(tenant)
            made = (
                known if known is not None and known.limits == given else Allowance(given, partial(self.note, tenant))
            )
            made.share(self._workers)
            self._by_tenant[tenant] = made

    def share(self, workers: int) -> None:
        """Divide every rate among so many workers."""
        if workers != self._workers:
            self._workers = workers
            for allowance in self._by_tenant.values():
                allowance.share(workers)

    @property
    def workers(self) -> int:
        return self._workers

    def of(self, tenant: str | None) -> Allowance | None:
        return None if tenant is None else self._by_tenant.get(tenant)


def _unheard(tenant: str, limit: str) -> None:
    """For limits that nobody counts."""
