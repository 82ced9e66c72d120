"""Messages in the queues, and the traffic through them."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.latency import percentiles
from grafana.messages import REQUESTS
from grafana.panel import CALLS_PER_SECOND, MESSAGES_PER_SECOND, VECTORS_PER_SECOND, Panel, Query
from grafana.promql import mean, per_second, quantile
from grafana.scope import CLUSTER, POOL, QUEUE

GREEN, RED = "green", "red"
OBJECTIVE_SECONDS = 0.2
READY = "memq:queue_messages_ready:sum"

DEPTH = Row(
    "Depth",
    (
        Panel(
            "Messages waiting",
            "Ready messages of each queue: writes first, then every other queue. Numbers come from RabbitMQ, or from "
            "the workers where RabbitMQ is not scraped.",
            "none",
            (
                Query(f'sum by (queue) ({READY}{{{QUEUE},queue=~"write.*|lane.*"}})', "{{queue}}"),
                Query(f'sum by (queue) ({READY}{{{QUEUE},queue!~"write.*|lane.*"}})', "{{queue}}"),
            ),
            width=16,
            height=10,
            order="query",
        ),
        Panel(
            "Time to drain, by queue",
            "Waiting messages divided by the rate at which they are settled, over two minutes; at most one day.",
            "s",
            (Query(f"max by (queue) (memq:queue_drain:seconds{{{QUEUE}}})", "{{queue}}"),),
            steps=((0, GREEN), (600, RED)),
            height=10,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Settled, by outcome",
            "Outcomes of messages. Retried, released and quarantined messages come again.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_messages_total", POOL, by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
        Panel(
            "Refused, by code",
            "Messages answered with an error or dead-lettered. schemas/README.md explains the codes.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_refusals_total", POOL, by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Request duration",
            "Queries, gets and counts, from receipt to settlement. The objective is 200 ms at p95.",
            "s",
            percentiles("memq_message_duration_seconds", POOL, REQUESTS),
            steps=((0, GREEN), (OBJECTIVE_SECONDS, RED)),
            moves=True,
        ),
    ),
)

FLOW = Row(
    "Flow",
    (
        Panel(
            "Settled, by operation",
            "Messages per second of each operation.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_messages_total", POOL, by="op"), "{{op}}"),),
            moves=True,
        ),
        Panel(
            "Vectors",
            "Points per second that writes store, change or delete.",
            VECTORS_PER_SECOND,
            (Query(per_second("memq_points_total", POOL, by="op"), "{{op}}"),),
            moves=True,
        ),
        Panel(
            "Published and acknowledged",
            "Messages that RabbitMQ accepts, delivers and gets acknowledged, of all its clients. Replies are not "
            "acknowledged. Acknowledged below published for long is a growing backlog.",
            MESSAGES_PER_SECOND,
            (
                Query(per_second("rabbitmq_global_messages_received_total", CLUSTER), "published"),
                Query(per_second("rabbitmq_global_messages_delivered_total", CLUSTER), "delivered"),
                Query(per_second("rabbitmq_global_messages_acknowledged_total", CLUSTER), "acknowledged"),
            ),
            moves=True,
        ),
        Panel(
            "Age of the oldest message",
            "Age of the oldest ready message of each queue; 0 if the queue is empty.",
            "s",
            (
                Query(
                    f'max by (queue) (memq_queue_oldest_age_seconds{{{POOL},queue=~"write|query|suspect"}})',
                    "{{queue}}",
                ),
            ),
            steps=((0, GREEN), (60, RED)),
        ),
        Panel(
            "Size of a write",
            "Points and messages in one call. Writes grow under load, which lowers their cost.",
            "none",
            (
                Query(quantile(0.95, "memq_batch_points", POOL), "points p95"),
                Query(mean("memq_batch_points", POOL), "points, mean"),
                Query(quantile(0.95, "memq_batch_messages", POOL), "messages p95"),
                Query(mean("memq_batch_messages", POOL), "messages, mean"),
            ),
            moves=True,
        ),
        Panel(
            "Reasons for writes",
            "idle: no write was in flight; full: a limit was reached; next: the write before had finished; alone: "
            "cannot be merged; split: half of a refused write; retry: repeated in place, with strict order.",
            CALLS_PER_SECOND,
            (Query(per_second("memq_batches_total", POOL, by="reason"), "{{reason}}"),),
            moves=True,
        ),
        Panel(
            "Consumers",
            "Consumers of each queue that workers consume.",
            "none",
            (
                Query(
                    f'sum by (queue) (memq:queue_consumers:sum{{{QUEUE},queue=~"write|write[.]bulk|query"}})',
                    "{{queue}}",
                ),
            ),
            cold="value",
        ),
        Panel(
            "Unacknowledged, by queue",
            "Messages delivered to workers and not yet acknowledged, held ones included.",
            "none",
            (Query(f"sum by (queue) (memq:queue_messages_unacked:sum{{{QUEUE}}})", "{{queue}}"),),
        ),
        Panel(
            "Replies",
            "Replies by their outcome. Undeliverable: the caller has gone. Refused: the reply address is not allowed.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_replies_total", POOL, by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
    ),
    collapsed=True,
)
