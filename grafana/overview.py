"""The first screen: is it healthy, and if not, where."""

from __future__ import annotations

from grafana.dashboard import NOT_THE_WATCHDOG, Dashboard, Row
from grafana.dependencies import DEPENDENCIES, QDRANT_SERVER
from grafana.errors import ERRORS
from grafana.flow import FLOW, QUEUES
from grafana.latency import LATENCY
from grafana.messages import ENDED, FAILED, OURS
from grafana.panel import Panel, Query
from grafana.promql import grown, share_left
from grafana.workers import WORKERS

GREEN, YELLOW, RED = "green", "orange", "red"
DOWN = float("-inf")


def health(title: str, description: str, unit: str, *queries: Query, width: int = 3, **more: object) -> Panel:
    return Panel(title, description, unit, queries, kind="stat", width=width, height=5, **more)  # type: ignore[arg-type]


HEALTHY = Row(
    "Is it healthy?",
    (
        health(
            "Workers ready",
            "Workers that are connected and take messages, and how many the pools were told to run.",
            "none",
            Query("sum(memq_ready) or vector(0)", "ready"),
            Query("sum(memq_workers_expected) or vector(0)", "expected"),
            width=4,
            steps=((DOWN, RED), (1, GREEN)),
            cold="value",
        ),
        health(
            "Oldest message",
            "How long the message has waited that is first in its queue, writes or requests. The best single sign of "
            "trouble: depth alone says little.",
            "s",
            Query('max(memq_queue_oldest_age_seconds{queue=~"write|query"})', "oldest"),
            steps=((DOWN, GREEN), (30, YELLOW), (60, RED)),
        ),
        health(
            "Time to drain",
            "How long the workers need at the rate of the last two minutes for what waits now, if nothing more came. "
            "A day stands for a day or more, and for a queue that nobody takes from.",
            "s",
            Query("max(memq:queue_drain:seconds)", "drain"),
            steps=((DOWN, GREEN), (60, YELLOW), (600, RED)),
        ),
        health(
            "Success, last hour",
            "Share of the messages of the last hour that were not refused or dead-lettered, whoever was to blame. "
            "The objective is 99 %.",
            "percentunit",
            Query(
                share_left(
                    grown("memq_messages_total", FAILED, window="1h"), grown("memq_messages_total", ENDED, window="1h")
                ),
                "success",
            ),
            steps=((DOWN, RED), (0.99, YELLOW), (0.999, GREEN)),
            decimals=2,
            cold="one",
            moves=True,
        ),
        health(
            "Error budget left",
            "What is left of the 1 % of the messages of 30 days, or of as long as Prometheus keeps, that may fail for "
            "reasons that are not their senders' fault: codes of status 500 and above, and 429.",
            "percentunit",
            Query(
                "1 - 100 * "
                + grown("memq_refusals_total", OURS, window="30d")
                + f" / clamp_min({grown('memq_messages_total', ENDED, window='30d')}, 1)",
                "left",
            ),
            steps=((DOWN, RED), (0.25, YELLOW), (0.5, GREEN)),
            decimals=0,
            cold="one",
            moves=True,
        ),
        health(
            "Dead letters",
            "Messages in the dead-letter queue. They stay until somebody replays or drops them.",
            "none",
            Query('memq:queue_messages_ready:sum{queue="dead"}', "waiting"),
            steps=((DOWN, GREEN), (1, YELLOW)),
            moves=True,
        ),
        health(
            "Store",
            "Whether any worker holds its writes because the store is away, overloaded, read-only or full. Held writes "
            "wait in RabbitMQ.",
            "none",
            Query("max(memq_store_held)", "held"),
            steps=((DOWN, GREEN), (1, RED)),
            words=((0, "takes writes"), (1, "writes held")),
        ),
        health(
            "Alerts",
            "Alerts that are firing. Each has a section in docs/runbooks.md.",
            "none",
            Query(f"count(ALERTS{{{NOT_THE_WATCHDOG}}}) or vector(0)", "firing"),
            steps=((DOWN, GREEN), (1, RED)),
            width=2,
            moves=True,
        ),
    ),
)

OVERVIEW = Dashboard(
    "memq-overview",
    "memq",
    "Vectors through RabbitMQ into Qdrant: is it healthy, how much, how fast, what fails.",
    (HEALTHY, QUEUES, FLOW, LATENCY, ERRORS, WORKERS, DEPENDENCIES, QDRANT_SERVER),
)
