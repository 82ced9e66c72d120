"""What failed for good, what is about to, and why."""

from __future__ import annotations

from grafana.dashboard import Dashboard, Row
from grafana.panel import Panel, Query
from grafana.promql import grown, per_second

DOWN = float("-inf")
DELIVERY_LIMIT = "rabbitmq_global_messages_dead_lettered_delivery_limit_total"


def number(title: str, description: str, unit: str, query: str, moves: bool = False) -> Panel:
    steps = ((DOWN, "green"), (1.0, "orange"))
    return Panel(title, description, unit, (Query(query, title.lower()),), "stat", 4, 4, steps, decimals=0, moves=moves)


NOW = Row(
    "Now",
    (
        number(
            "Dead letters",
            "Messages in the dead-letter queue. They stay until somebody replays or drops them.",
            "none",
            'memq:queue_messages_ready:sum{queue="dead"}',
            moves=True,
        ),
        number(
            "Oldest dead letter",
            "How long the first of them has been there.",
            "s",
            'max(memq_queue_oldest_age_seconds{queue="dead"})',
        ),
        number(
            "Dead-lettered",
            "By the workers, in the time range chosen above.",
            "none",
            grown("memq_dead_letters_total", window="$__range"),
            moves=True,
        ),
        number(
            "Given up by RabbitMQ",
            "In the time range chosen above, after too many deliveries: a message that kills workers ends like this. "
            "Of all users of the broker.",
            "none",
            grown(DELIVERY_LIMIT, window="$__range"),
        ),
        number(
            "In retry queues",
            "Writes that wait for their next attempt.",
            "none",
            'sum(memq:queue_messages_ready:sum{queue=~"retry.*"})',
        ),
        number(
            "In quarantine",
            "Messages that were delivered again and again without being settled, and are now processed one by one.",
            "none",
            'memq:queue_messages_ready:sum{queue="suspect"}',
        ),
    ),
)

WHY = Row(
    "Why",
    (
        Panel(
            "Dead-lettered, by code",
            "In the time range chosen above. What the codes mean, and whose fault they are, stands in "
            "schemas/README.md.",
            "none",
            (Query(grown("memq_dead_letters_total", by="code", window="$__range"), "{{code}}"),),
            kind="table",
            width=8,
            height=16,
            decimals=0,
            moves=True,
        ),
        Panel(
            "Dead-lettered, per second",
            "By code.",
            "cps",
            (Query(per_second("memq_dead_letters_total", by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Refused, per second",
            "By code; requests, which are only answered, are among them.",
            "cps",
            (Query(per_second("memq_refusals_total", by="code"), "{{code}}"),),
            moves=True,
        ),
        Panel(
            "Dead letters waiting",
            "How the dead-letter queue fills and empties.",
            "none",
            (Query('memq:queue_messages_ready:sum{queue="dead"}', "dead"),),
            moves=True,
        ),
        Panel(
            "Dead-lettered, by operation",
            "Which operations they were of.",
            "cps",
            (Query(per_second("memq_messages_total", 'outcome="dead_lettered"', by="op"), "{{op}}"),),
            moves=True,
        ),
    ),
)

BEFORE = Row(
    "On the way there",
    (
        Panel(
            "Retried, by tier",
            "Writes that were put off, by the seconds that they wait.",
            "cps",
            (Query(per_second("memq_retries_total", by="tier"), "{{tier}} s"),),
            moves=True,
        ),
        Panel(
            "Waiting for a retry",
            "Messages in each retry queue.",
            "none",
            (Query('memq:queue_messages_ready:sum{queue=~"retry.*"}', "{{queue}}"),),
        ),
        Panel(
            "Delivered again",
            "redelivered: by RabbitMQ, after a worker died, lost its connection or handed a message back; "
            "quarantined: set aside for it; released: handed back at a stop.",
            "cps",
            (
                Query(per_second("rabbitmq_global_messages_redelivered_total"), "redelivered"),
                Query(per_second("memq_messages_total", 'outcome="quarantined"'), "quarantined"),
                Query(per_second("memq_messages_total", 'outcome="released"'), "released"),
            ),
        ),
        Panel(
            "Expired",
            "Requests whose deadline had passed before a worker got to them: nobody waits for their answers.",
            "cps",
            (Query(per_second("memq_messages_total", 'outcome="expired"', by="op"), "{{op}}"),),
        ),
        Panel(
            "Replies without a reader",
            "undeliverable: the caller had gone; refused: it named a queue of memq's own.",
            "cps",
            (Query(per_second("memq_replies_total", 'outcome!="sent"', by="outcome"), "{{outcome}}"),),
            moves=True,
        ),
        Panel(
            "Store calls that fail",
            "By code: what many retries and dead letters come from.",
            "cps",
            (Query(per_second("memq_store_calls_total", 'code!="ok"', by="code"), "{{code}}"),),
            moves=True,
        ),
    ),
)

DEAD_LETTERS = Dashboard(
    "memq-dead-letters",
    "memq: dead letters",
    "What failed for good, what is about to, and why.",
    (NOW, WHY, BEFORE),
)
