"""The figures as tables: medians over the rounds."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import defaultdict
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.compare import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stack.broker import Broker
    from tests.benchmarks.compare import Compared
    from tests.benchmarks.drain import Drained
    from tests.benchmarks.export import Exported
    from tests.benchmarks.fairness import Fair
    from tests.benchmarks.flood import Flooded
    from tests.benchmarks.ingest import Ingested
    from tests.benchmarks.limits import Limited
    from tests.benchmarks.load import Form
    from tests.benchmarks.neighbours import Neighbour
    from tests.benchmarks.profile import Profile
    from tests.benchmarks.published import Published
    from tests.benchmarks.questions import Asked
    from tests.benchmarks.tenants import Crowd
    from tests.benchmarks.through import Through

FORMS: dict[Form, str] = {
    "arrow": "Arrow",
    "base64": "JSON base64",
    "lists": "JSON lists",
    "one version": "base64, one version",
    "versions": "base64, own versions",
    "sparse lists": "sparse, JSON lists",
    "sparse base64": "sparse, JSON base64",
    "sparse arrow": "sparse, Arrow",
}
PEER_PACKAGES = ("aio-pika", "faststream", "celery", "taskiq", "taskiq-aio-pika", "dramatiq", "qdrant-client")


def environment(broker: Broker) -> dict[str, str]:
    ours = ("aio-pika", "aiormq", "qdrant-client", "qdrant-edge-py", "grpcio", "msgspec", "pyarrow")
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "rabbitmq": broker.version or "unknown",
        **{name: version(name) for name in ours},
        **({"peers": _peer_versions()} if PYTHON.exists() else {}),
    }


def _peer_versions() -> str:
    code = f"from importlib.metadata import version as v; print(*(n + ' ' + v(n) for n in {PEER_PACKAGES}), sep=', ')"
    return subprocess.run([str(PYTHON), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def show(
    environment: dict[str, str],
    *,
    published: Sequence[Published],
    drains: Sequence[Drained],
    backlogs: Sequence[Drained],
    engine: Sequence[Ingested],
    peers: Sequence[Compared],
    direct: Sequence[Compared],
    through: Sequence[Through],
    questions: Sequence[Asked],
    exports: Sequence[Exported],
    fairness: Sequence[Fair],
    flood: Sequence[Flooded],
    neighbours: Sequence[Neighbour],
    tenants: Sequence[Crowd],
    limits: Sequence[Limited],
    profiles: Sequence[Profile],
) -> None:
    console = Console(width=150)
    if published:
        _print(console, "The producer alone, every message confirmed", *_published(published))
    if drains:
        _print(console, "One memq worker emptying a full queue", *_drained(drains, engine))
    if backlogs:
        _print(console, "One memq worker and a backlog, 100 points a message", *_waited(backlogs))
    if peers:
        _print(console, "Workers emptying the same queue into the same store, JSON lists", *_compared(peers))
    if direct or through:
        _print(console, "To searchable, 100 points a request", *_direct(direct, through))
    if questions:
        _print(console, "Queries of 10 hits with payload", *_asked(questions))
    if exports:
        _print(console, "A collection into a file, with payload and vectors", *_exported(exports))
    if fairness:
        _print(
            console,
            "Live upserts of one point beside a backlog in another collection",
            *_fair(fairness),
        )
    if flood:
        title = "Queries of a quiet tenant beside another's flood of queries, one worker"
        _print(console, title, *_beside(flood, "flood", "queries"))
    if neighbours:
        title = "Good upserts of one point beside collections that fail"
        _print(console, title, *_beside(neighbours, "failing collection", "upserts"))
    if tenants:
        _print(console, "One memq worker and the tenants of its file", *_crowded(tenants))
    if limits:
        _print(console, "Rates of a tenant with limits, two workers", *_limited(limits))
    for each in profiles:
        title = f"Where a worker's time goes: {each.form}, {each.points_per_message} a message, {each.samples} samples"
        _print(console, title, ("stage", "share"), [(name, f"{share:.0%}") for name, share in each.stages])
        _print(console, "", ("place", "share"), [(name, f"{share:.1%}") for name, share in each.places])
    console.print(", ".join(f"{name} {value}" for name, value in environment.items()), markup=False)


def _print(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # As Markdown, so that the README can quote it as it is.
    table = Table(title=title or None, title_justify="left", box=box.MARKDOWN)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _groups(runs: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for run in runs:
        found[key(run)].append(run)
    return found


def _middle(runs: list[Any], name: str) -> float:
    return median(getattr(run, name) for run in runs)


def _published(runs: Sequence[Published]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("upsert", "points", "points/s", "producer CPU µs/point", "with MEMQ_TRANSPORT=stock")
    names = {
        "columns": "columns, 100 points a message",
        "rows": "rows, 100 points a message",
        "single": "1 point a call, 256 calls at once",
    }
    groups = _groups(runs, lambda run: (run.way, run.transport))
    return columns, [
        [
            name,
            f"{groups[way, 'fast'][0].points:,}",
            f"{_middle(groups[way, 'fast'], 'points_per_second'):,.0f}",
            f"{_middle(groups[way, 'fast'], 'cpu'):.1f}",
            f"{_middle(groups[way, 'stock'], 'cpu'):.1f}",
        ]
        for way, name in names.items()
    ]


def _drained(drains: Sequence[Drained], engine: Sequence[Ingested]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("messages", "points", "points/s", "worker CPU µs/point", "engine CPU µs/point", "peak RSS MiB")
    rows = [
        [
            f"{points} points, {FORMS[form]}",
            f"{runs[0].points:,}",
            f"{_middle(runs, 'points_per_second'):,.0f}",
            f"{_middle(runs, 'worker_cpu'):.1f}",
            f"{_middle(runs, 'store_cpu'):.1f}",
            f"{max(run.worker_rss_mib for run in runs):.0f}",
        ]
        for (form, points), runs in _groups(drains, lambda run: (run.form, run.points_per_message)).items()
    ]
    if engine:
        alone = list(engine)
        speed, cpu = _middle(alone, "points_per_second"), _middle(alone, "store_cpu")
        rows.append(
            ["engine alone, 4 writes of 100 at once", f"{alone[0].points:,}", f"{speed:,.0f}", "", f"{cpu:.1f}", ""]
        )
    return columns, rows


def _waited(backlogs: Sequence[Drained]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("points waiting", "seconds", "points/s", "worker CPU µs/point", "worker's peak RSS MiB")
    return columns, [
        [
            f"{points:,}",
            f"{points / _middle(runs, 'points_per_second'):.1f}",
            f"{_middle(runs, 'points_per_second'):,.0f}",
            # Of a run that is no longer than the start that is taken off it nothing can be said.
            f"{cpu:.1f}" if (cpu := _middle(runs, "worker_cpu")) > 0 else "",
            f"{max(run.worker_rss_mib for run in runs):.0f}",
        ]
        for points, runs in _groups(backlogs, lambda run: run.points).items()
    ]


def _compared(peers: Sequence[Compared]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("worker", "points a message", "points/s", "worker CPU µs/point", "memq needs", "engine CPU µs/point")
    groups = _groups(peers, lambda run: (run.points_per_message, run.system))
    rows: list[list[str]] = []
    for (points, system), runs in groups.items():
        cpu = _middle(runs, "worker_cpu")
        mine = _middle(groups[points, "memq"], "worker_cpu")
        ratio = "" if system.startswith("memq") or not mine else f"{cpu / mine:.1f}× less"
        speed, store = _middle(runs, "points_per_second"), _middle(runs, "store_cpu")
        rows.append([system, str(points), f"{speed:,.0f}", f"{cpu:.1f}", ratio, f"{store:.1f}"])
    return columns, rows


def _direct(direct: Sequence[Compared], through: Sequence[Through]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("way", "points", "points/s", "client CPU µs/point")
    rows = [
        [
            f"QdrantClient, {system}",
            f"{runs[0].points:,}",
            f"{_middle(runs, 'points_per_second'):,.0f}",
            f"{_middle(runs, 'worker_cpu'):.1f}",
        ]
        for system, runs in _groups(direct, lambda run: run.system).items()
    ]
    if through:
        runs = list(through)
        rows.append(
            [
                "memq: Producer, RabbitMQ, worker",
                f"{runs[0].points:,}",
                f"{_middle(runs, 'points_per_second'):,.0f}",
                f"{_middle(runs, 'producer_cpu'):.1f}",
            ]
        )
    return columns, rows


def _asked(questions: Sequence[Asked]) -> tuple[Sequence[str], list[list[str]]]:
    columns = (
        "store",
        "way",
        "queries/s, 16 in flight",
        "idle",
        "store CPU ms/query",
        "one at a time: p50 ms",
        "p95 ms",
    )
    return columns, [
        [
            *which,
            f"{_middle(runs, 'queries_per_second'):,.0f}",
            f"{_middle(runs, 'idle'):.0%}",
            f"{_middle(runs, 'store_cpu'):.2f}",
            f"{_middle(runs, 'p50'):.2f}",
            f"{_middle(runs, 'p95'):.2f}",
        ]
        for which, runs in _groups(questions, lambda run: (run.store, run.way)).items()
    ]


def _exported(exports: Sequence[Exported]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("file", "points", "points/s", "command µs/point", "worker", "engine", "command MiB", "worker MiB")
    return columns, [
        [
            kind,
            f"{runs[0].points:,}",
            f"{_middle(runs, 'points_per_second'):,.0f}",
            *(f"{_middle(runs, name):.1f}" for name in ("command_cpu", "worker_cpu", "engine_cpu")),
            *(f"{_middle(runs, name):.0f}" for name in ("command_peak", "worker_peak")),
        ]
        for kind, runs in _groups(exports, lambda run: run.kind).items()
    ]


def _fair(fairness: Sequence[Fair]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("backlog", "points", "collections", "KiB a message", "p50 ms", "p99 ms", "most ms")
    store = ("store p50 ms", "store p99 ms", "one batch p50 ms", "one batch p99 ms", "drained points/s")
    figures = ("message_kib", "p50", "p99", "most", "store_p50", "store_p99", "batch_p50", "batch_p99", "drained")
    return (*columns, *store), [
        [backlog, f"{runs[0].points:,}", f"{runs[0].collections}", *(f"{_middle(runs, name):,.0f}" for name in figures)]
        for backlog, runs in _groups(fairness, lambda run: run.backlog).items()
    ]


def _beside(runs: Sequence[Neighbour | Flooded], *first: str) -> tuple[Sequence[str], list[list[str]]]:
    columns = (*first, "p50 ms", "p99 ms", "most ms", "p50 alone", "p99 alone", "times")
    return columns, [
        [
            beside,
            f"{group[0].number:,}",
            f"{_middle(group, 'p50'):,.1f}",
            f"{_middle(group, 'p99'):,.1f}",
            f"{_middle(group, 'most'):,.0f}",
            f"{_middle(group, 'alone_p50'):,.1f}",
            f"{_middle(group, 'alone_p99'):,.1f}",
            f"{_middle(group, 'p99') / _middle(group, 'alone_p99'):.1f}",
        ]
        for beside, group in _groups(runs, lambda run: run.beside).items()
    ]


def _crowded(tenants: Sequence[Crowd]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("tenants", "lanes", "apply s", "start s", "start CPU s", "idle MiB", "peak MiB", "CPU us", "KiB", "ms")
    figures = ("applied", "ready", "ready_cpu", "idle_mib", "peak_mib", "cpu", "scrape_kib", "scrape_ms")
    return columns, [
        [f"{number:,}", lanes, *(f"{_middle(runs, name):,.1f}" for name in figures)]
        for (number, lanes), runs in _groups(tenants, lambda run: (run.tenants, run.lanes)).items()
    ]


def _limited(limits: Sequence[Limited]) -> tuple[Sequence[str], list[list[str]]]:
    columns = ("limit", "per second", "points a message", "measured", "off by")
    return columns, [
        [limit, f"{rate:,}", str(points), f"{got:,.1f}", f"{got / rate - 1:+.1%}"]
        for (limit, rate, points), runs in _groups(
            limits, lambda run: (run.limit, run.per_second, run.points_per_message)
        ).items()
        for got in [_middle(runs, "measured")]
    ]
