"""One worker process, or one pool, or all."""

from __future__ import annotations

from grafana.dashboard import Dashboard, Row, Variable
from grafana.panel import Panel, Query
from grafana.promql import grown, mean, per_second, quantile

CHOSEN = 'instance=~"$instance"'
WORKER = f'{CHOSEN},worker=~"$worker"'
EACH = "instance,worker"
NAME = "{{instance}} {{worker}}"
DOWN = float("-inf")

NOW = Row(
    "Now",
    (
        Panel(
            "Ready",
            "Workers chosen above that are connected and take messages.",
            "none",
            (Query(f"sum(memq_ready{{{WORKER}}})", "ready"),),
            kind="stat",
            width=4,
            height=4,
            steps=((DOWN, "red"), (1, "green")),
            cold="value",
        ),
        Panel(
            "Running for",
            "Since the youngest of them was started.",
            "s",
            (Query(f'time() - max(process_start_time_seconds{{job="memq",{WORKER}}})', "running"),),
            kind="stat",
            width=4,
            height=4,
            cold="value",
        ),
        Panel(
            "Version",
            "How many run which version of memq, on which Python.",
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
            "Worker processes of the pool that are alive, and how many it was told to run.",
            "none",
            (
                Query(f"sum(memq_workers{{{CHOSEN}}})", "alive"),
                Query(f"sum(memq_workers_expected{{{CHOSEN}}})", "expected"),
            ),
            kind="stat",
            width=4,
            height=4,
            cold="value",
        ),
        Panel(
            "Restarts, last hour",
            "Times that the pool has started a worker again because it had died.",
            "none",
            (Query(grown("memq_worker_restarts_total", WORKER, window="1h"), "restarts"),),
            kind="stat",
            width=4,
            height=4,
            steps=((DOWN, "green"), (1, "orange")),
            decimals=0,
        ),
        Panel(
            "Store",
            "Whether it holds its writes because the store is away, overloaded, read-only or full.",
            "none",
            (Query(f"max(memq_store_held{{{WORKER}}})", "held"),),
            kind="stat",
            width=4,
            height=4,
            steps=((DOWN, "green"), (1, "red")),
            words=((0, "takes writes"), (1, "writes held")),
        ),
    ),
)

WORK = Row(
    "Work",
    (
        Panel(
            "Settled, by outcome",
            "Messages per second; retried, released and quarantined ones come again.",
            "cps",
            (Query(per_second("memq_messages_total", WORKER, by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
        Panel(
            "Settled, by worker",
            "Whether the work is spread evenly.",
            "cps",
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
            "decode, wait for a write or an answer to begin, store, settle.",
            "s",
            (Query(quantile(0.95, "memq_stage_duration_seconds", WORKER, by="stage"), "{{stage}}"),),
            moves=True,
        ),
        Panel(
            "Points per second",
            "Put into the store, changed or deleted.",
            "cps",
            (Query(per_second("memq_points_total", WORKER, by="op"), "{{op}}"),),
            moves=True,
        ),
        Panel(
            "Size of a write",
            "Points and messages in one call, on average, and the largest twentieth.",
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
            "Messages delivered and not settled, and how many there may be.",
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
            "cps",
            (Query(per_second("memq_refusals_total", WORKER, by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Clock skew",
            "Messages that came before they were sent, by the clocks of the two sides.",
            "cps",
            (Query(per_second("memq_queue_delay_clamped_total", WORKER), "from the future"),),
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
            "Store calls that fail",
            "By code.",
            "cps",
            (Query(per_second("memq_store_calls_total", WORKER, 'code!="ok"', by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Held, blocked, reconnected",
            "Share of the time that writes were held; 1 while RabbitMQ blocks publishing; connections made again.",
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
            (Query(per_second("process_cpu_seconds_total", 'job="memq"', WORKER, by=EACH), NAME),),
            width=6,
            cold="value",
        ),
        Panel(
            "Memory",
            "Resident.",
            "bytes",
            (Query(f'max by ({EACH}) (process_resident_memory_bytes{{job="memq",{WORKER}}})', NAME),),
            width=6,
            cold="value",
        ),
        Panel(
            "Open files",
            "Sockets among them.",
            "none",
            (Query(f'max by ({EACH}) (process_open_fds{{job="memq",{WORKER}}})', NAME),),
            width=6,
            cold="value",
        ),
        Panel(
            "Event-loop lag",
            "Longest time in ten seconds that the event loop was late.",
            "s",
            (Query(f"max by ({EACH}) (memq_event_loop_lag_seconds{{{WORKER}}})", NAME),),
            width=6,
            cold="value",
        ),
    ),
)

WORKER_PAGE = Dashboard(
    "memq-worker",
    "memq: worker",
    "One worker process, or one pool, or all: what it does, what holds it up, what it costs.",
    (NOW, WORK, STORE, PROCESS),
    (
        Variable("instance", "Pool", "label_values(memq_ready, instance)"),
        Variable("worker", "Worker", 'label_values(memq_ready{instance=~"$instance"}, worker)'),
    ),
)
