"""The limit on a tenant's stored points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memq_schemas import Count, ErrorCode, Get, Operation
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import UpsertPoints, Write
from memq_worker.pipeline.limits.allowances import Allowances
from memq_worker.pipeline.spaces.spaces import Spaces
from memq_worker.pipeline.store import Id, Store

_SECONDS = 5.0


@dataclass(slots=True)
class _Account:
    """stored: points at the last count.   since: points upserted here after it."""

    stored: int
    since: int = 0


class StoredPoints:
    """Refuses upserts that would exceed a tenant's `stored_points`; those that replace points are not refused.

    Between two counts each worker upserts at most its share of what is left. So the limit may be exceeded by what is in
    flight, at most.
    """

    def __init__(self, store: Store, spaces: Spaces, allowances: Allowances) -> None:
        self._store = store
        self._spaces = spaces
        self._allowances = allowances
        self._accounts: dict[str, _Account] = {}

    async def refusals(self, collection: str, commands: Sequence[UpsertPoints]) -> dict[Write, MessageError]:
        """Return the commands that exceed the limit. Raises what Store raises."""
        refused: dict[Write, MessageError] = {}
        for command in commands:
            tenant = command.delivery.tenant
            allowance = self._allowances.of(tenant)
            most = None if allowance is None else allowance.limits.stored_points
            if tenant is None or allowance is None or most is None:
                continue
            if not await self._fits(tenant, collection, command, most):
                allowance.note("stored_points")
                refused[command] = MessageError(
                    ErrorCode.QUOTA_EXCEEDED,
                    f"stored_points: the tenant's limit of {most} points is reached",
                    stage="validate",
                )
        return refused

    async def _fits(self, tenant: str, collection: str, command: UpsertPoints, most: int) -> bool:
        account = self._accounts.get(tenant)
        number = len(command.ids)
        if account is None or account.since + number > (most - account.stored) // self._allowances.workers:
            account = self._accounts[tenant] = _Account(await self.count(tenant))
            number = len(command.ids) if account.stored + number <= most else await self._new(collection, command.ids)
            if account.stored + number > most and number:
                return False
        account.since += number
        return True

    async def count(self, tenant: str) -> int:
        """Return the number of the tenant's points in all its collections. Raises what Store raises."""
        return await self._spaces.of(tenant).stored_points(self._ask)

    async def collections(self, tenant: str) -> int:
        """Return the number of the tenant's collections. Raises what Store raises."""
        return len(await self._spaces.of(tenant).collections(self._ask))

    async def _new(self, collection: str, ids: Sequence[Id]) -> int:
        """Return how many of the ids are not stored."""
        wanted = Get.model_construct(ids=list(dict.fromkeys(ids)), with_payload=False, with_vector=False)
        found = await self._store.get(collection, wanted, _SECONDS)
        return len(wanted.ids) - len(found)

    async def _ask(self, operation: Operation, collection: str, body: Any) -> Any:
        if operation is Operation.LIST:
            return {"collections": await self._store.list_collections(_SECONDS)}
        assert isinstance(body, Count)
        return {"count": await self._store.count(collection, body.filter, _SECONDS)}
