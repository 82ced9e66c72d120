"""What fails, and what becomes of it."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import Panel, Query
from grafana.promql import per_second

ERRORS = Row(
    "Errors",
    (
        Panel(
            "Refused, by code",
            "Messages answered with an error or dead-lettered. What the codes mean stands in schemas/README.md.",
            "cps",
            (Query(per_second("memq_refusals_total", by="code"), "{{code}}"),),
            width=6,
            moves=True,
        ),
        Panel(
            "Dead-lettered, by code",
            "Messages that the workers have put into the dead-letter queue.",
            "cps",
            (Query(per_second("memq_dead_letters_total", by="code"), "{{code}}"),),
            width=6,
            moves=True,
        ),
        Panel(
            "Retried, by tier",
            "Writes that were put off, by the seconds that they wait.",
            "cps",
            (Query(per_second("memq_retries_total", by="tier"), "{{tier}} s"),),
            width=6,
            moves=True,
        ),
        Panel(
            "Replies",
            "sent; undeliverable: the caller had gone; refused: it named a queue of memq's own.",
            "cps",
            (Query(per_second("memq_replies_total", by="outcome"), "{{outcome}}"),),
            width=6,
            moves=True,
        ),
    ),
)
