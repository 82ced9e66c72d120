"""The first page of an incident: which alert fires, what waits, what fails, where."""

from __future__ import annotations

from grafana.dashboard import FIRING, Dashboard, Row
from grafana.dependencies import QDRANT_SERVER, RABBITMQ, STORE
from grafana.errors import ERRORS
from grafana.flow import DEPTH, FLOW, TRAFFIC
from grafana.latency import LATENCY
from grafana.messages import ENDED, FAILED
from grafana.panel import MESSAGES_PER_SECOND, Link, Panel, Query
from grafana.promql import grown, per_second, share_left
from grafana.scope import CLUSTER, POOL, QUEUE, VARIABLES
from grafana.tenants import TENANTS
from grafana.workers import WORKERS

GREEN, ORANGE, RED = "green", "orange", "red"
CONSUMED = 'queue=~"write|write[.]bulk|query|lane[.].+"'
WAITING = 'queue=~"write|write[.]bulk|query|lane[.].+|(internal[.])?retry[.].+"'


def now(title: str, description: str, unit: str, expression: str, **more: object) -> Panel:
    fields: dict[str, object] = {"kind": "stat", "width": 3, "height": 5, **more}
    return Panel(title, description, unit, (Query(expression, title.lower()),), **fields)  # type: ignore[arg-type]


ALERTS = Panel(
    "Firing alerts",
    "Alerts that fire now; a name opens its runbook. Watchdog always fires: without it, alerting is broken.",
    "none",
    (Query(f"max by (alertname, severity, instance, queue, code) (ALERTS{{{FIRING}}})", "{{alertname}}"),),
    kind="table",
    width=6,
    height=10,
    links=(Link("alertname", "Runbook", "${runbooks}#${__value.raw}"),),
    columns=("alertname", "severity", "instance", "queue", "code"),
    cold="value",
)

ALARMS = "max(rabbitmq_alarms_memory_used_watermark{%s}) + 2 * max(rabbitmq_alarms_free_disk_space_watermark{%s})"

NOW = Row(
    "Now",
    (
        ALERTS,
        now(
            "Workers ready",
            "Share of the expected workers that are connected and consume.",
            "percentunit",
            f"sum(memq_ready{{{POOL}}}) / clamp_min(sum(memq_workers_expected{{{POOL}}}), 1)",
            steps=((0, RED), (0.5, ORANGE), (1, GREEN)),
            decimals=0,
            cold="one",
        ),
        now(
            "Waiting",
            "Messages ready in the write, request and retry queues.",
            "none",
            f"sum(memq:queue_messages_ready:sum{{{QUEUE},{WAITING}}})",
            steps=((0, GREEN), (10_000, ORANGE), (100_000, RED)),
        ),
        now(
            "Unacknowledged",
            "Messages delivered to a worker and not yet acknowledged: being written or held during an outage.",
            "none",
            f"sum(memq:queue_messages_unacked:sum{{{QUEUE},{CONSUMED}}})",
            steps=((0, GREEN),),
        ),
        now(
            "Oldest message",
            "Age of the oldest ready write or request.",
            "s",
            f'max(memq_queue_oldest_age_seconds{{{POOL},queue=~"write|query"}})',
            steps=((0, GREEN), (30, ORANGE), (60, RED)),
        ),
        now(
            "RabbitMQ alarms",
            "Resource alarms of RabbitMQ. While one is in effect, RabbitMQ blocks all publishers.",
            "none",
            ALARMS % (CLUSTER, CLUSTER),
            steps=((0, GREEN), (1, RED)),
            words=((0, "none"), (1, "memory"), (2, "disk"), (3, "memory, disk")),
        ),
        now(
            "Store",
            "Whether any worker holds its writes because the store is unavailable, overloaded, read-only or full.",
            "none",
            f"max(memq_store_held{{{POOL}}})",
            steps=((0, GREEN), (1, RED)),
            words=((0, "writable"), (1, "writes held")),
        ),
        now(
            "Published",
            "Messages per second that RabbitMQ accepts from all its clients, retries and replies included.",
            MESSAGES_PER_SECOND,
            per_second("rabbitmq_global_messages_received_total", CLUSTER),
            steps=((0, GREEN),),
            decimals=1,
            moves=True,
        ),
        now(
            "Settled",
            "Messages per second that workers finish.",
            MESSAGES_PER_SECOND,
            per_second("memq_messages_total", POOL, ENDED),
            steps=((0, GREEN),),
            decimals=1,
            moves=True,
        ),
        now(
            "Time to drain",
            "Time the workers need for the waiting messages, those in retry queues included, at the rate of the last "
            "two minutes. One day stands for a day or more, and for a queue without consumers.",
            "s",
            f"max(memq:queue_drain:seconds{{{QUEUE}}})",
            steps=((0, GREEN), (60, ORANGE), (600, RED)),
        ),
        now(
            "Dead letters",
            "Messages in the dead-letter queue. They stay until somebody replays or purges them.",
            "none",
            f'sum(memq:queue_messages_ready:sum{{{QUEUE},queue="dead"}})',
            steps=((0, GREEN), (1, ORANGE)),
            moves=True,
        ),
        now(
            "Success, last hour",
            "Share of the messages of the last hour that were neither refused nor dead-lettered.",
            "percentunit",
            share_left(
                grown("memq_messages_total", POOL, FAILED, window="1h"),
                grown("memq_messages_total", POOL, ENDED, window="1h"),
            ),
            steps=((0, RED), (0.95, ORANGE), (0.99, GREEN)),
            decimals=2,
            cold="one",
            moves=True,
        ),
        now(
            "Error budget left",
            "Unused part of the 1 % of the messages of 30 days that may fail with a code of status 500 and above, or "
            "429. A younger installation has used as much of it as if the rest of the 30 days passed without "
            "failures. A recording rule evaluates it once an hour.",
            "percentunit",
            f'min(memq:error_budget_left:ratio30d{{{CLUSTER},job=~"$job"}})',
            steps=((float("-inf"), RED), (0.25, ORANGE), (0.5, GREEN)),
            decimals=0,
            cold="one",
            recorded_hourly=True,
        ),
    ),
)

OVERVIEW = Dashboard(
    "memq-overview",
    "memq overview",
    "Vectors through RabbitMQ into Qdrant: which alerts fire, what waits, what fails, and where.",
    (NOW, DEPTH, TRAFFIC, FLOW, LATENCY, ERRORS, TENANTS, WORKERS, RABBITMQ, STORE, QDRANT_SERVER),
    VARIABLES,
)
