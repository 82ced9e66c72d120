"""All worker processes side by side."""

from __future__ import annotations

from grafana.dashboard import Row
from grafana.panel import Panel, Query
from grafana.promql import grown, of_process, per_second
from grafana.scope import POOL

GREEN, RED = "green", "red"
LATE_SECONDS = 0.2
EACH = "instance,worker"
NAME = "worker {{worker}} of {{instance}}"
PROCESS = "{{process}} of {{instance}}"

WORKERS = Row(
    "Workers",
    (
        Panel(
            "In flight, of prefetch",
            "Share of the prefetch window in use. At 100 % the workers are the bottleneck, unless the store is slow.",
            "percentunit",
            (
                Query(
                    f"sum by (queue) (memq_inflight_messages{{{POOL}}})"
                    f" / clamp_min(sum by (queue) (memq_prefetch_messages{{{POOL}}}), 1)",
                    "{{queue}}",
                ),
            ),
            maximum=1,
        ),
        Panel(
            "CPU",
            "CPU of each worker process, without the embedded engine; 100 % is one core.",
            "percentunit",
            (Query(of_process(per_second("process_cpu_seconds_total", POOL, by=EACH)), PROCESS),),
            cold="value",
        ),
        Panel(
            "Memory",
            "Resident memory of each worker process.",
            "bytes",
            (Query(of_process(f"max by ({EACH}) (process_resident_memory_bytes{{{POOL}}})"), PROCESS),),
            cold="value",
        ),
        Panel(
            "Event-loop lag",
            "Longest delay of a worker's event loop in ten seconds. All its messages wait that long.",
            "s",
            (Query(f"max by ({EACH}) (memq_event_loop_lag_seconds{{{POOL}}})", NAME),),
            steps=((0, GREEN), (LATE_SECONDS, RED)),
            cold="value",
        ),
        Panel(
            "Ready",
            "1 while a worker is connected and consumes.",
            "none",
            (Query(f"max by ({EACH}) (memq_ready{{{POOL}}})", NAME),),
            maximum=1,
            cold="one",
        ),
        Panel(
            "Restarts and reconnects",
            "Crashed worker processes that their pool restarted, and new connections to RabbitMQ after a loss.",
            "none",
            (
                Query(grown("memq_worker_restarts_total", POOL, by=EACH), f"restarts, {NAME}"),
                Query(grown("memq_amqp_reconnects_total", POOL, by=EACH), f"reconnects, {NAME}"),
            ),
        ),
    ),
    collapsed=True,
)
