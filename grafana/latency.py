"""Durations of messages and of their stages."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.messages import REQUESTS, WRITES
from grafana.panel import Panel, Query
from grafana.promql import grown, quantile
from grafana.scope import POOL


def percentiles(histogram: str, *matchers: str) -> tuple[Query, ...]:
    return tuple(Query(quantile(share, histogram, *matchers), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99))


LATENCY = Row(
    "Latency",
    (
        Panel(
            "Write duration",
            "Upserts, deletes and payload changes, from receipt to settlement, outages included.",
            "s",
            percentiles("memq_message_duration_seconds", POOL, WRITES),
            moves=True,
        ),
        Panel(
            "Queue delay",
            "From publish to settlement, by the publisher's clock: waiting, retries and outages included.",
            "s",
            tuple(
                Query(quantile(share, "memq_queue_delay_seconds", POOL, ops), f"{name} p{share * 100:g}")
                for name, ops in (
                    ("writes", f'{WRITES},lane!="bulk"'),
                    ("bulk writes", f'{WRITES},lane="bulk"'),
                    ("requests", REQUESTS),
                )
                for share in (0.5, 0.95)
            ),
            moves=True,
        ),
        Panel(
            "Stages, p95",
            "decode: parse and validate; wait: until a write or an answer begins; store: in Qdrant; settle: reply, "
            "retry or dead letter, and acknowledgement.",
            "s",
            (Query(quantile(0.95, "memq_stage_duration_seconds", POOL, by="stage"), "{{stage}}"),),
            moves=True,
        ),
        Panel(
            "Requests, distribution",
            "Number of requests by duration. Two bands are two kinds of requests, or two speeds of the store.",
            "s",
            (Query(grown("memq_message_duration_seconds_bucket", POOL, REQUESTS, by="le"), "{{le}}"),),
            kind="heatmap",
            width=24,
            moves=True,
        ),
    ),
    collapsed=True,
)
