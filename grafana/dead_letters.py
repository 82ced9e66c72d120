"""Dead letters, their causes, and messages that are about to become dead letters."""

from __future__ import annotations

from grafana.dashboard import Dashboard, Row
from grafana.panel import CALLS_PER_SECOND, MESSAGES_PER_SECOND, Panel, Query
from grafana.promql import grown, per_second
from grafana.scope import CLUSTER, POOL, QUEUE, VARIABLES

DELIVERY_LIMIT = "rabbitmq_global_messages_dead_lettered_delivery_limit_total"
READY = "memq:queue_messages_ready:sum"


def number(title: str, description: str, unit: str, query: str, moves: bool = False) -> Panel:
    steps = ((0.0, "green"), (1.0, "orange"))
    return Panel(title, description, unit, (Query(query, title.lower()),), "stat", 4, 4, steps, decimals=0, moves=moves)


NOW = Row(
    "Now",
    (
        number(
            "Dead letters",
            "Messages in the dead-letter queue. They stay until somebody replays or purges them.",
            "none",
            f'sum({READY}{{{QUEUE},queue="dead"}})',
            moves=True,
        ),
        number(
            "Oldest dead letter",
            "Age of the first dead letter.",
            "s",
            f'max(memq_queue_oldest_age_seconds{{{POOL},queue="dead"}})',
        ),
        number(
            "Dead-lettered",
            "By the workers, in the selected time range.",
            "none",
            grown("memq_dead_letters_total", POOL, window="$__range"),
            moves=True,
        ),
        number(
            "Over the delivery limit",
            "In the selected time range, by RabbitMQ: messages that crashed their workers. Of all its clients.",
            "none",
            grown(DELIVERY_LIMIT, CLUSTER, window="$__range"),
        ),
        number(
            "In retry queues",
            "Writes that wait for their next attempt.",
            "none",
            f'sum({READY}{{{QUEUE},queue=~"retry.*"}})',
        ),
        number(
            "In quarantine",
            "Messages that were redelivered without being settled. Workers process them one by one.",
            "none",
            f'sum({READY}{{{QUEUE},queue="suspect"}})',
        ),
    ),
)

CAUSES = Row(
    "Causes",
    (
        Panel(
            "Dead-lettered, by code",
            "In the selected time range. schemas/README.md explains the codes.",
            "none",
            (Query(grown("memq_dead_letters_total", POOL, by="code", window="$__range"), "{{code}}"),),
            kind="table",
            width=8,
            height=16,
            decimals=0,
            moves=True,
        ),
        Panel(
            "Dead-lettered, per second",
            "By code.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_dead_letters_total", POOL, by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Refused, per second",
            "By code, requests included, which are answered and not dead-lettered.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_refusals_total", POOL, by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Dead letters waiting",
            "Depth of the dead-letter queue.",
            "none",
            (Query(f'sum({READY}{{{QUEUE},queue="dead"}})', "dead"),),
            moves=True,
        ),
        Panel(
            "Dead-lettered, by operation",
            "Operations of the dead-lettered messages.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_messages_total", POOL, 'outcome="dead_lettered"', by="op"), "{{op}}"),),
            moves=True,
        ),
    ),
)

BEFORE = Row(
    "Before the dead-letter queue",
    (
        Panel(
            "Retried, by tier",
            "Writes moved to a retry queue, by its delay in seconds.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_retries_total", POOL, by="tier"), "{{tier}} s"),),
            moves=True,
        ),
        Panel(
            "Waiting for a retry",
            "Messages in each retry queue.",
            "none",
            (Query(f'sum by (queue) ({READY}{{{QUEUE},queue=~"retry.*"}})', "{{queue}}"),),
        ),
        Panel(
            "Redeliveries",
            "redelivered: after a worker crashed, lost its connection or released the message; quarantined: moved to "
            "the suspect queue because of that; released: given back to the queue at a stop.",
            MESSAGES_PER_SECOND,
            (
                Query(per_second("memq_redelivered_messages_total", POOL), "redelivered"),
                Query(per_second("memq_messages_total", POOL, 'outcome="quarantined"'), "quarantined"),
                Query(per_second("memq_messages_total", POOL, 'outcome="released"'), "released"),
            ),
        ),
        Panel(
            "Expired",
            "Requests whose deadline passed before a worker received them.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_messages_total", POOL, 'outcome="expired"', by="op"), "{{op}}"),),
        ),
        Panel(
            "Replies without a reader",
            "Undeliverable: the caller has gone. Refused: the reply address is not allowed.",
            MESSAGES_PER_SECOND,
            (Query(per_second("memq_replies_total", POOL, 'outcome!="sent"', by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
        Panel(
            "Failed store calls",
            "By code: the cause of most retries and dead letters.",
            CALLS_PER_SECOND,
            (Query(per_second("memq_store_calls_total", POOL, 'code!="ok"', by="code"), "{{code}}"),),
            moves=True,
        ),
    ),
)

DEAD_LETTERS = Dashboard(
    "memq-dead-letters",
    "memq dead letters",
    "Dead letters, their causes, and messages that are about to become dead letters.",
    (NOW, CAUSES, BEFORE),
    VARIABLES,
)
