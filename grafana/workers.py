"""All worker processes side by side."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import Panel, Query
from grafana.promql import grown, per_second

GREEN, RED = "green", "red"
DOWN = float("-inf")
LATE_SECONDS = 0.2

WORKERS = Row(
    "Workers",
    (
        Panel(
            "In flight, of prefetch",
            "Share of the messages that workers may hold which they do hold. At 100 % they are the bottleneck: add "
            "workers, unless the store is slow.",
            "percentunit",
            (
                Query(
                    "sum by (queue) (memq_inflight_messages) / clamp_min(sum by (queue) (memq_prefetch_messages), 1)",
                    "{{queue}}",
                ),
            ),
            maximum=1,
        ),
        Panel(
            "CPU",
            "Of each worker process; 100 % is one core. The embedded engine is a process of its own and not included.",
            "percentunit",
            (
                Query(
                    per_second("process_cpu_seconds_total", 'job="memq"', by="instance,worker"),
                    "{{instance}} {{worker}}",
                ),
            ),
            cold="value",
        ),
        Panel(
            "Memory",
            "Resident memory of each worker process.",
            "bytes",
            (Query('max by (instance,worker) (process_resident_memory_bytes{job="memq"})', "{{instance}} {{worker}}"),),
            cold="value",
        ),
        Panel(
            "Event-loop lag",
            "Longest time in ten seconds that a worker's event loop was late: everything else waited that long too.",
            "s",
            (Query("max by (instance,worker) (memq_event_loop_lag_seconds)", "{{instance}} {{worker}}"),),
            steps=((DOWN, GREEN), (LATE_SECONDS, RED)),
            cold="value",
        ),
        Panel(
            "Ready",
            "1 while a worker is connected and takes messages.",
            "none",
            (Query("max by (instance,worker) (memq_ready)", "{{instance}} {{worker}}"),),
            maximum=1,
            cold="one",
        ),
        Panel(
            "Restarts and reconnects",
            "Worker processes that their pool has started again, and connections to RabbitMQ that were made again.",
            "none",
            (
                Query(grown("memq_worker_restarts_total", by="instance,worker"), "restarts {{instance}} {{worker}}"),
                Query(grown("memq_amqp_reconnects_total", by="instance,worker"), "reconnects {{instance}} {{worker}}"),
            ),
        ),
    ),
)
