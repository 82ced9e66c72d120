"""One or more worker processes: their work, their waits, their cost."""

from __future__ import annotations

from grafana.dashboard import Dashboard, Row
from grafana.panel import CALLS_PER_SECOND, MESSAGES_PER_SECOND, VECTORS_PER_SECOND, Panel, Query
from grafana.promql import grown, mean, of_process, per_second, quantile
from grafana.scope import POOL, VARIABLES, WORKER, WORKER_VARIABLE

EACH = "instance,worker"
NAME = "worker {{worker}} of {{instance}}"
PROCESS = "{{process}} of {{instance}}"

NOW = Row(
    "Now",
    (
        Panel(
            "Ready",
            "Share of the selected workers that are connected and consume.",
            "percentunit",
            (Query(f"avg(memq_ready{{{WORKER}}})", "ready"),),
            kind="stat",
            width=4,
            height=4,
            steps=((0, "red"), (1, "green")),
            cold="one",
        ),
        Panel(
            "Running for",
            "Time since the youngest of them started.",
            "s",
            (Query(f"time() - max(process_start_time_seconds{{{WORKER}}})", "running"),),
            kind="stat",
            width=4,
            height=4,
            cold="value",
        ),
        Panel(
            "Version",
            "Number of workers by version of memq and Python.",
            "none",
            (Query(f"count by (version,python) (memq_build_info{{{WORKER}}})", "memq {{version}}, Python {{python}}"),),
            kind="stat",
            width=4,
            height=4,
            named=True,
            cold="value",
        ),
        Panel(
            "Alive, of expected",
            "Living worker processes of the pool, and the expected number.",
            "none",
            (
                Query(f"sum(memq_workers{{{POOL}}})", "alive"),
                Query(f"sum(memq_workers_expected{{{POOL}}})", "expected"),
            ),
            kind="stat",
            width=4,
            height=4,
            cold="value",
        ),
        Panel(
            "Restarts, last hour",
            "Number of crashed workers that the pool restarted.",
            "none",
            (Query(grown("memq_worker_restarts_total", WORKER, window="1h"), "restarts"),),
            kind="stat",
            width=4,
            height=4,
            steps=((0, "green"), (1, "orange")),
            decimals=0,
        ),
        Panel(
            "Store",
            "Whether a worker holds its writes because the store is unavailable, overloaded, read-only or full.",
            "none",
            (Query(f"max(memq_store_held{{{WORKER}}})", "held"),),
            kind="stat",
            width=4,
            height=4,
            steps=((0, "green"), (1, "red")),
            words=((0, "writable"), (1, "writes held")),
        ),
    ),
)

WORK = Row(
    "Work",
    (
        Panel(
            "Settled, by outcome",
            "Retried, released and quarantined messages come again.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_messages_total", WORKER, by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
        Panel(
            "Settled, by worker",
            "Distribution of the work.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_messages_total", WORKER, by=EACH), NAME),),
            moves=True,
        ),
        Panel(
            "Duration by operation, p95",
            "From receipt to settlement.",
            "s",
            (Query(quantile(0.95, "memq_message_duration_seconds", WORKER, by="op"), "{{op}}"),),
            moves=True,
        ),
        Panel(
            "Stages, p95",
            "Stages: decode, wait until a write or an answer begins, store, settle.",
            "s",
            (Query(quantile(0.95, "memq_stage_duration_seconds", WORKER, by="stage"), "{{stage}}"),),
            moves=True,
        ),
        Panel(
            "Vectors",
            "Points per second that writes store, change or delete.",
            VECTORS_PER_SECOND,
            (Query(per_second("memq_points_total", WORKER, by="op"), "{{op}}"),),
            moves=True,
        ),
        Panel(
            "Size of a write",
            "Points and messages in one call.",
            "none",
            (
                Query(mean("memq_batch_points", WORKER), "points, mean"),
                Query(quantile(0.95, "memq_batch_points", WORKER), "points p95"),
                Query(mean("memq_batch_messages", WORKER), "messages, mean"),
            ),
            moves=True,
        ),
        Panel(
            "In flight",
            "Unacknowledged messages, and the prefetch limit.",
            "none",
            (
                Query(f"sum by (queue) (memq_inflight_messages{{{WORKER}}})", "{{queue}}"),
                Query(f"sum by (queue) (memq_prefetch_messages{{{WORKER}}})", "{{queue}} limit"),
            ),
            cold="value",
        ),
        Panel(
            "Refused, by code",
            "Messages answered with an error or dead-lettered.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_refusals_total", WORKER, by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Clock skew",
            "Messages with a timestamp later than the worker's clock, and requests whose deadline was corrected.",
            MESSAGES_PER_SECOND,
            (
                Query(per_second("memq_queue_delay_clamped_total", WORKER), "from the future"),
                Query(per_second("memq_clock_skews_total", WORKER), "deadline corrected"),
            ),
        ),
    ),
)

STORE = Row(
    "Store and broker",
    (
        Panel(
            "Store calls, p95",
            "By kind of call.",
            "s",
            (Query(quantile(0.95, "memq_store_call_duration_seconds", WORKER, by="call"), "{{call}}"),),
            moves=True,
        ),
        Panel(
            "Failed store calls",
            "By code.",
            CALLS_PER_SECOND,
            (Query(per_second("memq_store_calls_total", WORKER, 'code!="ok"', by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Held, blocked, reconnected",
            "Share of the time in which writes were held; 1 while RabbitMQ blocks publishing; reconnects.",
            "none",
            (
                Query(per_second("memq_store_held_seconds_total", WORKER), "held"),
                Query(f"max(memq_amqp_blocked{{{WORKER}}})", "blocked"),
                Query(grown("memq_amqp_reconnects_total", WORKER), "reconnected"),
            ),
        ),
    ),
)

PROCESS = Row(
    "Process",
    (
        Panel(
            "CPU",
            "100 % is one core.",
            "percentunit",
            (Query(of_process(per_second("process_cpu_seconds_total", WORKER, by=EACH)), PROCESS),),
            width=6,
            cold="value",
        ),
        Panel(
            "Memory",
            "Resident memory.",
            "bytes",
            (Query(of_process(f"max by ({EACH}) (process_resident_memory_bytes{{{WORKER}}})"), PROCESS),),
            width=6,
            cold="value",
        ),
        Panel(
            "Open files",
            "Open file descriptors, sockets included.",
            "none",
            (Query(of_process(f"max by ({EACH}) (process_open_fds{{{WORKER}}})"), PROCESS),),
            width=6,
            cold="value",
        ),
        Panel(
            "Event-loop lag",
            "Longest delay of the event loop in ten seconds.",
            "s",
            (Query(f"max by ({EACH}) (memq_event_loop_lag_seconds{{{WORKER}}})", NAME),),
            width=6,
            cold="value",
        ),
    ),
)

WORKER_PAGE = Dashboard(
    "memq-worker",
    "memq workers",
    "One or more worker processes: their work, their waits, their cost.",
    (NOW, WORK, STORE, PROCESS),
    (*VARIABLES, WORKER_VARIABLE),
)
