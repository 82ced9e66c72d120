"""RabbitMQ, and the store as the workers meet it: a Qdrant server and the embedded engine look the same there."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import Panel, Query
from grafana.promql import per_second, quantile

DOWN = float("-inf")
QDRANT = 'job="qdrant"'

DEPENDENCIES = Row(
    "Dependencies",
    (
        Panel(
            "Store calls, p95",
            "How long Qdrant, or the embedded engine, takes for each kind of call, as the workers see it.",
            "s",
            (Query(quantile(0.95, "memq_store_call_duration_seconds", by="call"), "{{call}}"),),
            moves=True,
        ),
        Panel(
            "Store calls",
            "Calls to Qdrant, or the embedded engine, per second.",
            "cps",
            (Query(per_second("memq_store_calls_total", by="call"), "{{call}}"),),
            moves=True,
        ),
        Panel(
            "Store calls that fail",
            "By code. A call that is repeated later with success is among them.",
            "cps",
            (Query(per_second("memq_store_calls_total", 'code!="ok"', by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Held and blocked",
            "1 while any worker holds its writes because of the store, or is kept from publishing by RabbitMQ.",
            "none",
            (Query("max(memq_store_held)", "writes held"), Query("max(memq_amqp_blocked)", "publishing blocked")),
            width=6,
            maximum=1,
        ),
        Panel(
            "RabbitMQ's alarms",
            "1 while RabbitMQ is short of memory or disk: it then blocks everybody who publishes.",
            "none",
            (
                Query("max(rabbitmq_alarms_memory_used_watermark)", "memory"),
                Query("max(rabbitmq_alarms_free_disk_space_watermark)", "disk"),
            ),
            width=6,
            maximum=1,
        ),
        Panel(
            "RabbitMQ's room",
            "Memory in use of what may be used, and the least free disk of what is free. At 100 % an alarm goes off.",
            "percentunit",
            (
                Query("max(rabbitmq_process_resident_memory_bytes / rabbitmq_resident_memory_limit_bytes)", "memory"),
                Query(
                    "max(rabbitmq_disk_space_available_limit_bytes / rabbitmq_disk_space_available_bytes)",
                    "disk",
                ),
            ),
            width=6,
            steps=((DOWN, "green"), (0.8, "red")),
            cold="value",
        ),
        Panel(
            "RabbitMQ's connections",
            "Connections and channels, of all its users.",
            "none",
            (Query("sum(rabbitmq_connections)", "connections"), Query("sum(rabbitmq_channels)", "channels")),
            width=6,
            cold="value",
        ),
    ),
)

QDRANT_SERVER = Row(
    "Qdrant server (empty with the embedded engine, which the row above shows)",
    (
        Panel(
            "Up",
            "1 while Prometheus can scrape Qdrant.",
            "none",
            (Query(f"up{{{QDRANT}}}", "{{instance}}"),),
            width=6,
            maximum=1,
            cold="value",
            optional=True,
        ),
        Panel(
            "gRPC calls, p95",
            "As Qdrant itself measures them.",
            "s",
            (Query(quantile(0.95, "grpc_responses_duration_seconds", QDRANT, by="endpoint"), "{{endpoint}}"),),
            width=6,
            cold="value",
            optional=True,
        ),
        Panel(
            "gRPC errors",
            "By gRPC status: 4 deadline exceeded, 8 resources exhausted, 13 internal, 14 unavailable.",
            "cps",
            (Query(per_second("grpc_responses_total", QDRANT, 'status!="0"', by="status"), "status {{status}}"),),
            width=6,
            cold="value",
            optional=True,
        ),
        Panel(
            "Updates waiting",
            "Updates that Qdrant has taken and not yet applied, by collection. Rising for long, it cannot keep up.",
            "none",
            (Query(f"sum by (id) (collection_update_queue_length{{{QDRANT}}})", "{{id}}"),),
            width=6,
            cold="value",
            optional=True,
        ),
        Panel(
            "Points",
            "By collection.",
            "none",
            (Query(f"sum by (id) (collection_points{{{QDRANT}}})", "{{id}}"),),
            width=6,
            cold="value",
            optional=True,
        ),
        Panel(
            "Collections",
            "How many there are.",
            "none",
            (Query(f"max(collections_total{{{QDRANT}}})", "collections"),),
            width=6,
            cold="value",
            optional=True,
        ),
        Panel(
            "Qdrant's memory",
            "Resident, of each node.",
            "bytes",
            (Query(f"memory_resident_bytes{{{QDRANT}}}", "{{instance}}"),),
            width=6,
            cold="value",
            optional=True,
        ),
        Panel(
            "Dead replicas",
            "Replicas of shards that are not in use because they are behind or gone.",
            "none",
            (Query(f"sum by (id) (collection_dead_replicas{{{QDRANT}}})", "{{id}}"),),
            width=6,
            cold="value",
            optional=True,
        ),
    ),
    collapsed=True,
)
