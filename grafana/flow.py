"""What waits in the queues, and what goes through."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import Panel, Query
from grafana.promql import mean, per_second, quantile

GREEN, RED = "green", "red"
DOWN = float("-inf")

QUEUES = Row(
    "Queues",
    (
        Panel(
            "Messages waiting",
            "Ready messages of each queue, from RabbitMQ, or where it is not scraped from the workers. Retry queues "
            "hold writes that wait for their next attempt.",
            "none",
            (Query("memq:queue_messages_ready:sum", "{{queue}}"),),
            moves=True,
        ),
        Panel(
            "Age of the oldest message",
            "Of each queue, as its workers see it, to the second; 0 when it is empty.",
            "s",
            (Query('max by (queue) (memq_queue_oldest_age_seconds{queue=~"write|query|suspect"})', "{{queue}}"),),
            steps=((DOWN, GREEN), (60, RED)),
        ),
        Panel(
            "Time to drain, by queue",
            "Waiting messages divided by the rate at which they are settled, over two minutes; at most a day.",
            "s",
            (Query("memq:queue_drain:seconds", "{{queue}}"),),
            steps=((DOWN, GREEN), (600, RED)),
        ),
        Panel(
            "Published and acknowledged",
            "What RabbitMQ takes in, hands out and gets acknowledged, of all its users; copies for retry and dead "
            "letters, and replies, which nobody acknowledges, are among it. Acknowledged below published for long, and "
            "not for replies, is a growing backlog.",
            "cps",
            (
                Query(per_second("rabbitmq_global_messages_received_total"), "published"),
                Query(per_second("rabbitmq_global_messages_delivered_total"), "delivered"),
                Query(per_second("rabbitmq_global_messages_acknowledged_total"), "acknowledged"),
            ),
            moves=True,
        ),
        Panel(
            "Settled, by outcome",
            "How messages end: the last word on each, except that retried, released and quarantined ones come again.",
            "cps",
            (Query(per_second("memq_messages_total", by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
        Panel(
            "Consumers",
            "Consumers of each queue. The retry, suspect and dead-letter queues have none.",
            "none",
            (Query('memq:queue_consumers:sum{queue=~"write|query"}', "{{queue}}"),),
            cold="value",
        ),
    ),
)

FLOW = Row(
    "Flow",
    (
        Panel(
            "Settled, by operation",
            "Messages per second of each operation.",
            "cps",
            (Query(per_second("memq_messages_total", by="op"), "{{op}}"),),
            width=6,
            moves=True,
        ),
        Panel(
            "Vectors per second",
            "Points that writes have put into the store, changed or deleted.",
            "cps",
            (Query(per_second("memq_points_total", by="op"), "{{op}}"),),
            width=6,
            moves=True,
        ),
        Panel(
            "Size of a write",
            "Points and messages that go into one call. Under load writes get larger, which is what makes them cheap.",
            "none",
            (
                Query(quantile(0.95, "memq_batch_points"), "points p95"),
                Query(mean("memq_batch_points"), "points, mean"),
                Query(quantile(0.95, "memq_batch_messages"), "messages p95"),
                Query(mean("memq_batch_messages"), "messages, mean"),
            ),
            width=6,
            moves=True,
        ),
        Panel(
            "Why writes go out",
            "idle: nothing was in flight; full: a limit was reached; next: the one before had finished; alone: cannot "
            "be merged; split: halved after a refusal; retry: tried again in its place, with strict order.",
            "cps",
            (Query(per_second("memq_batches_total", by="reason"), "{{reason}}"),),
            width=6,
            moves=True,
        ),
    ),
)
