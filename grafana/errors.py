"""Failures of messages and their consequences."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import CALLS_PER_SECOND, MESSAGES_PER_SECOND, Panel, Query
from grafana.promql import per_second
from grafana.scope import POOL

ERRORS = Row(
    "Errors",
    (
        Panel(
            "Dead-lettered, by code",
            "Messages that workers move to the dead-letter queue.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_dead_letters_total", POOL, by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Retried, by tier",
            "Writes moved to a retry queue, by its delay in seconds.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_retries_total", POOL, by="tier"), "{{tier}} s"),),
            moves=True,
        ),
        Panel(
            "Failed store calls",
            "Calls to the store that failed, by code, including calls that succeeded when repeated.",
            CALLS_PER_SECOND,
            (Query(per_second("memq_store_calls_total", POOL, 'code!="ok"', by="code"), "{{code}}"),),
            moves=True,
        ),
    ),
    collapsed=True,
)
