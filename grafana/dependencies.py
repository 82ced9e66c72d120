"""RabbitMQ, and the store as the workers meet it: a Qdrant server and the embedded engine look the same there."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import CALLS_PER_SECOND, Panel, Query
from grafana.promql import per_second, quantile
from grafana.scope import CLUSTER, POOL

QDRANT = 'cluster=~"$cluster",job=~"qdrant.*"'
NO_SERVER = "no Qdrant server is scraped"

STORE = Row(
    "Store",
    (
        Panel(
            "Store calls, p95",
            "Duration of calls to Qdrant or the embedded engine, as the workers see it.",
            "s",
            (Query(quantile(0.95, "memq_store_call_duration_seconds", POOL, by="call"), "{{call}}"),),
            moves=True,
        ),
        Panel(
            "Store calls",
            "Calls to Qdrant or the embedded engine.",
            CALLS_PER_SECOND,
            (Query(per_second("memq_store_calls_total", POOL, by="call"), "{{call}}"),),
            moves=True,
        ),
        Panel(
            "Held and blocked",
            "1 while any worker holds its writes because of the store, or RabbitMQ blocks its publishing.",
            "none",
            (
                Query(f"max(memq_store_held{{{POOL}}})", "writes held"),
                Query(f"max(memq_amqp_blocked{{{POOL}}})", "publishing blocked"),
            ),
            maximum=1,
        ),
    ),
    collapsed=True,
)

RABBITMQ = Row(
    "RabbitMQ",
    (
        Panel(
            "RabbitMQ's alarms",
            "1 while RabbitMQ is short of memory or disk space and blocks all publishers.",
            "none",
            (
                Query(f"max(rabbitmq_alarms_memory_used_watermark{{{CLUSTER}}})", "memory"),
                Query(f"max(rabbitmq_alarms_free_disk_space_watermark{{{CLUSTER}}})", "disk"),
            ),
            maximum=1,
        ),
        Panel(
            "RabbitMQ's limits",
            "Memory in use as a share of the limit, and the free disk limit as a share of the free disk space. At "
            "100 % an alarm goes off.",
            "percentunit",
            (
                Query(
                    f"max(rabbitmq_process_resident_memory_bytes{{{CLUSTER}}}"
                    f" / rabbitmq_resident_memory_limit_bytes{{{CLUSTER}}})",
                    "memory",
                ),
                Query(
                    f"max(rabbitmq_disk_space_available_limit_bytes{{{CLUSTER}}}"
                    f" / rabbitmq_disk_space_available_bytes{{{CLUSTER}}})",
                    "disk",
                ),
            ),
            steps=((0, "green"), (0.8, "red")),
            cold="value",
        ),
        Panel(
            "RabbitMQ's connections",
            "Connections and channels of all clients.",
            "none",
            (
                Query(f"sum(rabbitmq_connections{{{CLUSTER}}})", "connections"),
                Query(f"sum(rabbitmq_channels{{{CLUSTER}}})", "channels"),
            ),
            cold="value",
        ),
    ),
    collapsed=True,
)

QDRANT_SERVER = Row(
    "Qdrant server (no data with the embedded engine, which the row above covers)",
    (
        Panel(
            "Up",
            "1 while Prometheus can scrape Qdrant.",
            "none",
            (Query(f"up{{{QDRANT}}}", "{{instance}}"),),
            width=6,
            maximum=1,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "gRPC calls, p95",
            "Duration that Qdrant itself measures.",
            "s",
            (Query(quantile(0.95, "grpc_responses_duration_seconds", QDRANT, by="endpoint"), "{{endpoint}}"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "gRPC errors",
            "By gRPC status: 4 deadline exceeded, 8 resources exhausted, 13 internal, 14 unavailable.",
            CALLS_PER_SECOND,
            (Query(per_second("grpc_responses_total", QDRANT, 'status!="0"', by="status"), "status {{status}}"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "Updates waiting",
            "Updates that Qdrant has accepted and not yet applied, by collection. A long rise means overload.",
            "none",
            (Query(f"sum by (id) (collection_update_queue_length{{{QDRANT}}})", "{{id}}"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "Points",
            "By collection.",
            "none",
            (Query(f"sum by (id) (collection_points{{{QDRANT}}})", "{{id}}"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "Collections",
            "Number of collections.",
            "none",
            (Query(f"max(collections_total{{{QDRANT}}})", "collections"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "Qdrant's memory",
            "Resident, of each node.",
            "bytes",
            (Query(f"memory_resident_bytes{{{QDRANT}}}", "{{instance}}"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
        Panel(
            "Dead replicas",
            "Shard replicas that are out of use because they lag behind or are lost.",
            "none",
            (Query(f"sum by (id) (collection_dead_replicas{{{QDRANT}}})", "{{id}}"),),
            width=6,
            cold="value",
            optional=NO_SERVER,
        ),
    ),
    collapsed=True,
)
