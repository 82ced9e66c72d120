"""How long messages take, and where the time goes."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.messages import REQUESTS, WRITES
from grafana.panel import Panel, Query
from grafana.promql import grown, quantile

GREEN, RED = "green", "red"
DOWN = float("-inf")
OBJECTIVE_SECONDS = 0.2


def percentiles(histogram: str, *matchers: str) -> tuple[Query, ...]:
    return tuple(Query(quantile(share, histogram, *matchers), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99))


LATENCY = Row(
    "Latency",
    (
        Panel(
            "Requests",
            "Queries, gets and counts, from receipt to settlement. The objective is 200 ms at p95.",
            "s",
            percentiles("memq_message_duration_seconds", REQUESTS),
            steps=((DOWN, GREEN), (OBJECTIVE_SECONDS, RED)),
            moves=True,
        ),
        Panel(
            "Writes",
            "Upserts, deletes and payload changes, from receipt to settlement; waiting out an outage is part of it.",
            "s",
            percentiles("memq_message_duration_seconds", WRITES),
            moves=True,
        ),
        Panel(
            "Queue delay",
            "From publish to settlement, by the publisher's clock, which has whole seconds: all the waiting, retries "
            "and outages too.",
            "s",
            tuple(
                Query(quantile(share, "memq_queue_delay_seconds", ops), f"{name} p{share * 100:g}")
                for name, ops in (("writes", WRITES), ("requests", REQUESTS))
                for share in (0.5, 0.95)
            ),
            moves=True,
        ),
        Panel(
            "Requests, distribution",
            "How many requests took how long. Two bands are two kinds of requests, or two speeds of the store.",
            "s",
            (Query(grown("memq_message_duration_seconds_bucket", REQUESTS, by="le"), "{{le}}"),),
            kind="heatmap",
            width=12,
            moves=True,
        ),
        Panel(
            "Stages, p95",
            "decode: parse and check; wait: for a write or an answer to begin; store: in Qdrant; settle: reply, "
            "retry or dead letter, and acknowledgement.",
            "s",
            (Query(quantile(0.95, "memq_stage_duration_seconds", by="stage"), "{{stage}}"),),
            width=12,
            moves=True,
        ),
    ),
)
