"""Measures memq, the peers and the direct way side by side, and prints the figures that the README quotes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.broker import Broker, NoBroker, found
from tests.benchmarks import report
from tests.benchmarks.compare import DIRECT, PEERS, PYTHON, Compared, Load, direct, ours, peer
from tests.benchmarks.drain import Drained, drain
from tests.benchmarks.export import Exported, exports
from tests.benchmarks.fairness import Fair, fairness
from tests.benchmarks.flood import Flooded, flooded
from tests.benchmarks.ingest import Ingested, ingest
from tests.benchmarks.limits import Limited, limited
from tests.benchmarks.neighbours import Neighbour, neighbours
from tests.benchmarks.profile import Profile, profile
from tests.benchmarks.published import WAYS, Published, published
from tests.benchmarks.questions import Asked, questions
from tests.benchmarks.tenants import Crowd, crowds
from tests.benchmarks.through import Through, through
from tests.support.broker import own_address
from tests.support.qdrant import NoQdrantError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.load import Form

DRAINS: tuple[tuple[Form, int, int], ...] = (
    ("arrow", 600, 100),
    ("base64", 600, 100),
    ("lists", 600, 100),
    ("one version", 600, 100),
    ("versions", 600, 100),
    ("base64", 20_000, 1),
    ("lists", 20_000, 1),
)
# Sparse vectors of 100 numbers.
SPARSE_DRAINS: tuple[tuple[Form, int, int], ...] = (
    ("sparse arrow", 600, 100),
    ("sparse base64", 600, 100),
    ("sparse lists", 600, 100),
)
# Messages of 100 points that wait when the worker starts.
BACKLOGS = (100, 1_000, 10_000)
SECTIONS = ("publish", "drain", "peers", "direct", "through", "questions", "export")
ASKED_FOR = ("backlog", "fairness", "flood", "neighbours", "tenants", "limits", "sparse")


@dataclass
class Figures:
    """Everything of all rounds."""

    published: list[Published] = field(default_factory=list[Published])
    drains: list[Drained] = field(default_factory=list[Drained])
    backlogs: list[Drained] = field(default_factory=list[Drained])
    engine: list[Ingested] = field(default_factory=list[Ingested])
    peers: list[Compared] = field(default_factory=list[Compared])
    direct: list[Compared] = field(default_factory=list[Compared])
    through: list[Through] = field(default_factory=list[Through])
    questions: list[Asked] = field(default_factory=list[Asked])
    exports: list[Exported] = field(default_factory=list[Exported])
    fairness: list[Fair] = field(default_factory=list[Fair])
    flood: list[Flooded] = field(default_factory=list[Flooded])
    neighbours: list[Neighbour] = field(default_factory=list[Neighbour])
    tenants: list[Crowd] = field(default_factory=list[Crowd])
    limits: list[Limited] = field(default_factory=list[Limited])
    profiles: list[Profile] = field(default_factory=list[Profile])


@dataclass(frozen=True)
class Bench:
    """One run's place and size; every measurement has a virtual host and an engine of its own."""

    broker: Broker
    directory: Path
    scale: float
    figures: Figures

    def _count(self, messages: int) -> int:
        return max(2, round(messages * self.scale))

    def place(self, *name: object) -> Path:
        path = self.directory.joinpath(*map(str, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, number: int) -> None:
        del number
        for way in WAYS:
            points = self._count(10_000 if way == "single" else 40_000)
            for transport in ("fast", "stock"):
                with own_address(self.broker) as address:
                    self.figures.published.append(asyncio.run(published(address, way, points, transport)))

    def drain(self, number: int) -> None:
        self.figures.engine.append(asyncio.run(ingest(self.place(number, "ingest", "x").parent, self._count(600))))
        self._drain(number, DRAINS)

    def sparse(self, number: int) -> None:
        self._drain(number, SPARSE_DRAINS)

    def _drain(self, number: int, forms: Sequence[tuple[Form, int, int]]) -> None:
        for form, messages, points in forms:
            with own_address(self.broker) as address:
                place = self.place(number, "drain", "x").parent
                self.figures.drains.append(asyncio.run(drain(address, place, form, self._count(messages), points)))

    def backlog(self, number: int) -> None:
        for messages in BACKLOGS:
            with own_address(self.broker) as address:
                place = self.place(number, f"backlog-{messages}", "x").parent
                self.figures.backlogs.append(asyncio.run(drain(address, place, "base64", self._count(messages), 100)))
            shutil.rmtree(place)

    def peers(self, number: int) -> None:
        for messages, points in ((200, 100), (3000, 1)):
            load = Load(self.directory, self._count(messages), points)
            # memq's is so short that its start-up would be most of it.
            longer = Load(self.directory, self._count(messages) * 5, points)
            forms: tuple[Form, ...] = ("lists", "arrow") if points > 1 else ("lists",)
            for form in forms:
                with own_address(self.broker) as address:
                    place = self.place(number, f"memq-{form}-{points}")
                    self.figures.peers.append(asyncio.run(ours(address, place, longer, form)))
            for system in PEERS:
                with own_address(self.broker) as address:
                    place = self.place(number, f"{PEERS[system]}-{points}")
                    self.figures.peers.append(asyncio.run(peer(address, place, system, load)))

    def direct(self, number: int) -> None:
        load = Load(self.directory, self._count(200), 100)
        for way in DIRECT:
            with own_address(self.broker) as address:
                self.figures.direct.append(asyncio.run(direct(address, self.place(number, way), way, load)))

    def through(self, number: int) -> None:
        with own_address(self.broker) as address:
            points = self._count(30_000)
            self.figures.through.append(asyncio.run(through(address, self.place(number, "through"), points)))

    def questions(self, number: int) -> None:
        points, queries = max(100, self._count(60_000)), max(40, self._count(2000))
        for kind in ("engine", "server") if shutil.which("qdrant") else ("engine",):
            with own_address(self.broker) as address:
                place = self.place(number, f"questions-{kind}")
                self.figures.questions += asyncio.run(questions(address, place, points, queries, kind))

    def export(self, number: int) -> None:
        with own_address(self.broker) as address:
            points = max(100, self._count(100_000))
            self.figures.exports += asyncio.run(exports(address, self.place(number, "export"), points))

    def fairness(self, number: int) -> None:
        with own_address(self.broker) as address:
            messages, upserts = self._count(10_000), max(20, self._count(300))
            place = self.place(number, "fairness", "x").parent
            self.figures.fairness += asyncio.run(fairness(address, place, messages, upserts))

    def flood(self, number: int) -> None:
        with own_address(self.broker) as address:
            place = self.place(number, "flood", "x").parent
            self.figures.flood += asyncio.run(flooded(address, place, max(40, self._count(1_000))))

    def neighbours(self, number: int) -> None:
        with own_address(self.broker) as address:
            place, upserts = self.place(number, "neighbours"), max(100, self._count(1_000))
            place.mkdir()
            self.figures.neighbours += asyncio.run(neighbours(address, place, upserts))

    def tenants(self, number: int) -> None:
        with own_address(self.broker) as address:
            place = self.place(number, "tenants", "x").parent
            self.figures.tenants += asyncio.run(crowds(address, place, self._count(600)))

    def limits(self, number: int) -> None:
        with own_address(self.broker) as address:
            place = self.place(number, "limits", "x").parent
            self.figures.limits += asyncio.run(limited(address, place, max(2.0, 20.0 * self.scale)))

    def profile(self) -> None:
        for form, messages, points in DRAINS:
            with own_address(self.broker) as address:
                place = self.place("profile", f"{form}-{points}", "x").parent
                self.figures.profiles.append(asyncio.run(profile(address, place, form, self._count(messages), points)))


def _sections(only: str) -> list[str]:
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    known = SECTIONS + ASKED_FOR
    if unknown := sorted(set(wanted) - set(known)):
        raise typer.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    return wanted


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, interleaved; medians are shown.")] = 3,
    scale: Annotated[float, typer.Option(min=0.001, help="Share of the messages to publish.")] = 1.0,
    only: Annotated[str, typer.Option(help="Sections to measure, with commas between them.")] = ",".join(SECTIONS),
    quick: Annotated[bool, typer.Option("--quick", help="One round of a quarter of the messages.")] = False,
    profiled: Annotated[
        bool, typer.Option("--profile", help="Show where a worker's time goes, and nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every run as JSON.")] = False,
) -> None:
    """Side by side on this machine and the embedded engine, every guarantee on: confirms, wait=true, ack after apply.

    publish: the producer alone, until the broker has confirmed. drain: one memq worker emptying full queues. peers:
    aio-pika by hand, FastStream, Celery, taskiq and dramatiq at the same. direct: the official client without a queue.
    through: producer, queue and worker at once. questions: RPC queries against the official client's, on a Qdrant
    server too where one is on PATH. export: a collection into files by `memq scroll`. backlog, only when it is asked
    for: 10,000 to 1,000,000 points that wait, with the worker's memory, a quarter of an hour and 5 GB of disk.
    fairness, only when it is asked for: live upserts beside a backlog of 1,000,000 points, in the bulk lane and in
    those of tenants. flood, only when it is asked for: a tenant's queries beside another's flood, on a broker with
    the management API. neighbours, only when it is asked for: good upserts beside collections that fail, on the
    Qdrant server on PATH. tenants, only when it is asked for: start, memory and CPU of a worker with 0 to 1,000
    tenants; limits, only when it is asked for: the rates of a tenant with limits and two workers; both on a broker with
    the management API. sparse, only when it is asked for: drain, with sparse vectors of 100 numbers. Rounds are
    interleaved, so that a slow minute hits every row.
    """
    wanted = _sections(only)
    if quick:
        rounds, scale = 1, scale / 4
    if profiled or {"peers", "direct"} & set(wanted):
        _set_up_peers()
    figures = Figures()
    with found() as broker, tempfile.TemporaryDirectory(prefix="memq-bench-") as directory:
        bench = Bench(broker, Path(directory), scale, figures)
        if profiled:
            bench.profile()
        for number in range(0 if profiled else rounds):
            for section in wanted:
                getattr(bench, section)(number)
        environment = report.environment(broker)
    if as_json:
        typer.echo(json.dumps({"environment": environment, **_plain(figures)}))
    else:
        report.show(environment, **{name: getattr(figures, name) for name in figures.__dataclass_fields__})


def _plain(figures: Figures) -> dict[str, Any]:
    return asdict(figures)


def _set_up_peers() -> None:
    script = Path(__file__).parents[2] / "scripts" / "setup"
    subprocess.run([str(script), "peers"], check=True, stdout=sys.stderr)
    assert PYTHON.exists()


if __name__ == "__main__":
    try:
        typer.run(main)
    except (NoBroker, NoQdrantError) as error:
        raise SystemExit(f"bench: {error}") from None
