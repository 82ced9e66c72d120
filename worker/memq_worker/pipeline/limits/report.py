"""Answer to the request `limits`: the limits of a tenant, and which of them hold it back now."""

import asyncio
from typing import Any

from memq_schemas import Names, headers
from memq_schemas.properties import Properties
from memq_schemas.tenants import TenantNames
from memq_schemas.topology import BULK, LIVE
from memq_worker.errors import BrokerUnavailable, Unroutable, WorkerError
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.limits.allowances import Allowances
from memq_worker.pipeline.limits.stored_points import StoredPoints

# Epoch milliseconds, of 1973: workers discard the message.
_EXPIRED = 10**11
_STORE_SECONDS = 1.0
_RATES = ("points_per_second", "bytes_per_second", "requests_per_second")


class LimitReport:
    """Builds the answers for all tenants."""

    def __init__(self, names: Names, allowances: Allowances, stored: StoredPoints) -> None:
        self._names = names
        self._allowances = allowances
        self._stored = stored

    async def of(self, delivery: Delivery) -> dict[str, Any]:
        """Return the result for the sender of a request. What the store does not tell in time is left open."""
        tenant = delivery.tenant
        allowance = self._allowances.of(tenant)
        if tenant is None or allowance is None:
            return {"tenant": tenant, "limits": []}
        found: list[dict[str, Any]] = []
        reached = allowance.reached
        for name, limit in allowance.limits.model_dump(exclude_none=True).items():
            if name == "backlog_bytes":
                lanes = zip((LIVE, BULK), TenantNames(self._names.prefix, tenant).lanes, strict=True)
                found += [
                    {"name": name, "limit": limit, "lane": lane, "reached": await self._full(delivery, queue_lane)}
                    for lane, queue_lane in lanes
                ]
            elif name in _RATES:
                found.append({"name": name, "limit": limit, "reached": name in reached})
            elif name == "concurrency":
                found.append({"name": name, "limit": limit, "reached": allowance.crowded})
            elif name == "message_bytes":
                found.append({"name": name, "limit": limit, "reached": None})
            else:
                used = await self._used(tenant, name)
                reached_now = None if used is None else used >= limit
                found.append({"name": name, "limit": limit, "used": used, "reached": reached_now})
        return {"tenant": tenant, "limits": found}

    async def _used(self, tenant: str, name: str) -> int | None:
        counted = self._stored.count if name == "stored_points" else self._stored.collections
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                return await counted(tenant)
        except (WorkerError, TimeoutError):
            return None

    async def _full(self, delivery: Delivery, lane: str) -> bool | None:
        """Return True if the lane's queue takes no message; None if the broker does not answer.

        No reader of a queue is told how many bytes wait there, so an empty message shows it, which has expired.
        """
        given = {headers.LANE: lane, headers.TENANT: delivery.tenant, headers.DEADLINE: _EXPIRED}
        properties = Properties(
            content_type=headers.JSON,
            delivery_mode=headers.PERSISTENT,
            priority=headers.PRIORITY,
            app_id=headers.APP_ID,
            headers=given,
        )
        try:
            return not await delivery.link.accepted(self._names.internal, "upsert.limits", properties)
        except (Unroutable, BrokerUnavailable):
            return None
