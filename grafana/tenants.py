"""Traffic of each tenant, and the limits that it reaches."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import MESSAGES_PER_SECOND, Panel, Query
from grafana.promql import per_second, quantile
from grafana.scope import POOL

TENANTS = Row(
    "Tenants",
    (
        Panel(
            "Settled, by tenant",
            "Messages per second. The first 50 tenants of a worker have a line of their own; the others share one.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_tenant_messages_total", POOL, by="tenant"), "{{tenant}}"),),
            width=12,
            optional="no tenants",
        ),
        Panel(
            "Waiting in lanes of one tenant",
            "Messages ready in the lanes of each tenant that has lanes of its own.",
            "none",
            (Query(f"max by (tenant) (memq_tenant_queue_messages{{{POOL}}})", "{{tenant}}"),),
            width=12,
            optional="no tenants",
        ),
        Panel(
            "Queue delay, by tenant",
            "From publish to settlement of writes, by the publisher's clock, at the 95th percentile.",
            "s",
            (Query(quantile(0.95, "memq_tenant_queue_delay_seconds", POOL, by="tenant"), "{{tenant}}"),),
            width=12,
            optional="no tenants",
        ),
        Panel(
            "Limits reached",
            "Refused requests and writes, and pauses of a lane for its rate.",
            "suffix:limits/s",
            (Query(per_second("memq_tenant_limited_total", POOL, by="tenant,limit"), "{{tenant}} {{limit}}"),),
            width=12,
            optional="no tenants",
        ),
    ),
    collapsed=True,
)
