"""Traffic by tenant, from the pools' metrics."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from memq_cli.top.frame import Tenant
from memq_cli.top.window import added, quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memq_cli.top.exposition import Page
    from memq_cli.top.window import Window

_MESSAGES = "memq_tenant_messages_total"
_READY = "memq_tenant_queue_messages"
_SERIES = (_MESSAGES, _READY, "memq_tenant_limited_total")


def tenants(pages: Sequence[Page], windows: Sequence[Window]) -> list[Tenant]:
    """Return the tenants that the pools know, those with most messages per second first."""
    names = {labels["tenant"] for page in pages for series in _SERIES for labels, _ in page.each(series)}
    found = [_tenant(name, pages, windows) for name in sorted(names)]
    return sorted(found, key=lambda tenant: (-(tenant.settled_per_second or 0.0), -(tenant.ready or 0)))


def _tenant(name: str, pages: Sequence[Page], windows: Sequence[Window]) -> Tenant:
    rates = [rate for window in windows if (rate := window.rate(_MESSAGES, tenant=name)) is not None]
    # Every worker reports the same queues.
    ready = [value for page in pages for _, value in page.each(_READY, tenant=name)]
    limited: dict[str, int] = defaultdict(int)
    for window in windows:
        for limit, times in window.by("limit", "memq_tenant_limited_total", tenant=name).items():
            if times:
                limited[limit] += int(times)
    delays = added([window.buckets("memq_tenant_queue_delay_seconds", tenant=name) for window in windows])
    p95 = quantile(0.95, delays)
    return Tenant(
        name,
        sum(rates) if rates else None,
        int(max(ready)) if ready else None,
        None if p95 is None else p95 * 1000,
        dict(limited),
    )
