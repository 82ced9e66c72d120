"""Every experiment: its number in the list, what it shows, how much of it a test takes and how much a long run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.chaos.experiments import (
    broker,
    clocks,
    disk,
    disorder,
    drain,
    foreign,
    forged,
    hostile,
    kills,
    neighbours,
    network,
    overload,
    pauses,
    poison,
    quorum,
    refusing,
    replies,
    store,
    tenants,
)
from tests.chaos.figures import Figures
from tests.chaos.scene import Ground, Plan

Run: TypeAlias = Callable[[Ground, Plan], Coroutine[Any, Any, Figures]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """own_broker: kills or starves its broker, so it gets one of its own.   short: as a test.   long: scripts/chaos."""

    name: str
    what: str
    run: Run
    short: Plan
    long: Plan
    own_broker: bool = False


EXPERIMENTS: dict[str, Experiment] = {
    each.name: each
    for each in (
        Experiment(
            "kills",
            "two workers killed with SIGKILL at random and at every point where a message is half done",
            kills.run,
            Plan(messages=400, kills=6, seconds=20),
            Plan(messages=3_000, kills=60, seconds=150),
        ),
        Experiment(
            "store failing",
            "every row of the table of store failures, before and after the write, and messages the store refuses",
            store.run,
            Plan(messages=300, kills=1, seconds=60),
            Plan(messages=1_000, kills=4, seconds=150),
        ),
        Experiment(
            "neighbours",
            "collections of a real Qdrant server that fail in six ways, beside good writes to another",
            neighbours.run,
            # A rate limit parks messages in the tier of two minutes.
            Plan(messages=150, drain_seconds=200),
            Plan(messages=1_000, drain_seconds=240),
        ),
        Experiment(
            "tenants",
            "a tenant's writes beside a noisy tenant, broken tenants files, killed applies and a tenant's removal",
            tenants.run,
            Plan(messages=300, kills=2, drain_seconds=120),
            Plan(messages=3_000, kills=20, drain_seconds=300),
        ),
        Experiment(
            "hostile",
            "a corpus of hostile messages, mutated bodies, random documents, and frames that are no AMQP",
            hostile.run,
            Plan(messages=100, kills=30),
            Plan(messages=1_000, kills=600),
        ),
        Experiment(
            "poison",
            "messages that kill the worker, among a full prefetch window of good ones",
            poison.run,
            Plan(messages=100, kills=1),
            Plan(messages=300, kills=3),
        ),
        Experiment(
            "oversized",
            "bodies, headers, vectors and point counts beyond the limits, and compressed bombs",
            hostile.run_oversized,
            Plan(messages=50, kills=1),
            Plan(messages=200, kills=4),
        ),
        Experiment(
            "disorder",
            "versions late, twice and shuffled, at three workers",
            disorder.run,
            Plan(messages=360),
            Plan(messages=3_600),
        ),
        Experiment(
            "drain",
            "workers stopped in order under load, each replaced by a new one",
            drain.run,
            Plan(messages=200, kills=2),
            Plan(messages=2_000, kills=15),
        ),
        Experiment(
            "stops",
            "workers stopped at random moments under load, from the start of their process on",
            drain.run_stops,
            Plan(kills=9),
            Plan(kills=200, seconds=600),
        ),
        Experiment(
            "replies",
            "callers that left, read slowly or give hostile addresses, among those who get their answer",
            replies.run,
            Plan(messages=60),
            Plan(messages=1_500),
        ),
        Experiment(
            "forged replies",
            "replies to addresses that were never given, never used or are no text, among callers who get theirs",
            forged.run,
            Plan(messages=60),
            Plan(messages=1_500),
        ),
        Experiment(
            "foreign properties",
            "properties and headers of any bytes, at a worker on each transport",
            foreign.run,
            Plan(messages=90),
            Plan(messages=3_000),
        ),
        Experiment(
            "refusing broker",
            "dead letters forbidden, their queue full, their exchange deleted and unbound, each repaired in time",
            refusing.run,
            Plan(messages=60),
            Plan(messages=1_000),
        ),
        Experiment(
            "small messages",
            "a broker that takes messages of 20 kB at most, from producers and from workers",
            refusing.run_small,
            Plan(messages=60),
            Plan(messages=1_000),
            own_broker=True,
        ),
        Experiment(
            "network",
            "connections of workers and producers cut, reset, half-open and slow, and one of two dead",
            network.run,
            Plan(messages=240, kills=1),
            Plan(messages=960, kills=3),
        ),
        Experiment(
            "broker killed",
            "RabbitMQ killed with SIGKILL under load, and started again on its data",
            broker.run,
            Plan(messages=200, kills=1),
            Plan(messages=2_000, kills=4),
            own_broker=True,
        ),
        Experiment(
            "pauses",
            "SIGSTOP to a worker, the store and the broker, and their late return",
            pauses.run,
            Plan(kills=1, seconds=6),
            Plan(kills=2, seconds=12, drain_seconds=180),
            own_broker=True,
        ),
        Experiment(
            "overload",
            "ten times as much as the write queue may hold",
            overload.run,
            Plan(messages=400),
            Plan(messages=2_000),
        ),
        Experiment(
            "backlog",
            "a backlog drained at prefetch 10, 256 and 1000 in 256 MiB",
            overload.run_backlog,
            Plan(messages=399, drain_seconds=120),
            Plan(messages=3_000, drain_seconds=300),
        ),
        Experiment(
            "clock skew",
            "workers two hours ahead and two hours behind, whose clocks are set while they work",
            clocks.run,
            Plan(messages=80, kills=1),
            Plan(messages=1_600, kills=4),
        ),
        Experiment(
            "disk full",
            "the store's disk and the broker's, each filled and cleared",
            disk.run,
            Plan(messages=120, kills=1),
            Plan(messages=400, kills=2),
        ),
        Experiment(
            "quorum",
            "three nodes: the leader killed under load, then two of three",
            quorum.run,
            Plan(messages=200, kills=1),
            Plan(messages=2_000, kills=3),
        ),
    )
}
