"""The benchmark itself, made small: it measures what it says, and cannot rot."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from memq_schemas import Upsert
from tests.benchmarks.compare import DIRECT, PEERS, Load, direct, ours, peer
from tests.benchmarks.drain import drain
from tests.benchmarks.export import exports
from tests.benchmarks.ingest import ingest
from tests.benchmarks.limits import limited
from tests.benchmarks.load import DIMENSIONS, Form, bodies
from tests.benchmarks.logs import measured
from tests.benchmarks.metrics import SIZES, measure
from tests.benchmarks.neighbours import neighbours
from tests.benchmarks.published import WAYS, Way, published
from tests.benchmarks.questions import questions
from tests.benchmarks.tenants import crowds
from tests.benchmarks.through import through
from tests.support.poisons import NAMES
from tests.support.qdrant import NoQdrantError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Address

ROOT = Path(__file__).parents[2]
ENVIRONMENT = dict(os.environ)  # before a fixture takes out what selects the broker

pytestmark = [pytest.mark.benchmark, pytest.mark.integration]


@pytest.mark.parametrize("form", ["base64", "lists", "one version", "versions"])
def test_the_load_is_what_the_contract_takes(form: Form) -> None:
    first, second = bodies(2, 3, form)
    points = Upsert.model_validate_json(first).points + Upsert.model_validate_json(second).points
    assert len({point.id for point in points}) == 6
    assert [point.version for point in points] == {
        "one version": [1, 1, 1, 2, 2, 2],
        "versions": [1, 2, 3, 4, 5, 6],
    }.get(form, [None] * 6)
    if form == "lists":
        assert all(isinstance(point.vector, list) and len(point.vector) == DIMENSIONS for point in points)
    assert 200 <= len(orjson.dumps(points[0].payload)) <= 320


@pytest.mark.parametrize("way", WAYS)
async def test_publishing_gives_figures(amqp: Address, way: Way) -> None:
    figures = await published(amqp, way, 300)
    assert figures.points == 300
    assert figures.cpu > 0


@pytest.mark.parametrize(
    "form",
    ["base64", *(pytest.param(f"sparse {kind}", marks=pytest.mark.slow) for kind in ("arrow", "base64", "lists"))],
)
async def test_a_small_drain_gives_figures(amqp: Address, tmp_path: Path, form: Form) -> None:
    figures = await drain(amqp, tmp_path, form, messages=30, points=20)
    assert figures.points == 600
    assert figures.points_per_second > 0
    assert figures.store_cpu > 0


@pytest.mark.parametrize("form", ["arrow", pytest.param("lists", marks=pytest.mark.slow)])
async def test_memq_among_the_peers_gives_figures(amqp: Address, tmp_path: Path, form: Form) -> None:
    figures = await ours(amqp, tmp_path / "engine", Load(tmp_path, 20, 10), form)
    assert figures.points == 200
    assert figures.points_per_second > 0


@pytest.fixture(scope="session")
def peers() -> None:
    """Their own environment, from their own lock."""
    subprocess.run([str(ROOT / "scripts" / "setup"), "peers"], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("system", PEERS)
async def test_a_peer_empties_a_queue_of_its_own_filling(amqp: Address, tmp_path: Path, system: str) -> None:
    figures = await peer(amqp, tmp_path / "engine", system, Load(tmp_path, 10, 5))
    assert figures.points == 50
    assert figures.points_per_second > 0


@pytest.mark.slow
@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("way", DIRECT)
async def test_the_direct_way_gives_figures(amqp: Address, tmp_path: Path, way: str) -> None:
    figures = await direct(amqp, tmp_path / "engine", way, Load(tmp_path, 4, 10))
    assert figures.points == 40
    assert figures.worker_cpu > 0


async def test_going_through_the_queue_gives_figures(amqp: Address, tmp_path: Path) -> None:
    figures = await through(amqp, tmp_path / "engine", 300)
    assert figures.points == 300
    assert figures.producer_cpu > 0


async def test_questions_give_figures_for_both_ways(amqp: Address, tmp_path: Path) -> None:
    direct, queued, echoed = await questions(amqp, tmp_path / "engine", points=200, queries=40)
    assert (direct.way, queued.way, echoed.way) == ("AsyncQdrantClient", "memq", "echo")
    assert direct.queries_per_second > 0
    assert queued.p50 > 0


async def test_an_export_gives_figures_for_each_kind_of_file(amqp: Address, tmp_path: Path) -> None:
    figures = await exports(amqp, tmp_path / "export", points=300)
    assert [each.kind for each in figures] == ["jsonl", "parquet", "arrow"]
    assert all(each.points_per_second > 0 and each.command_peak > 0 for each in figures)


async def test_a_small_ingest_gives_figures(tmp_path: Path) -> None:
    figures = await ingest(tmp_path, batches=3, points=10)
    assert figures.points == 30
    assert figures.points_per_second > 0


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook = hook


@pytest.mark.usefixtures("logging_as_it_was")
def test_lines_and_spans_have_a_cost() -> None:
    figures = measured(times=100)
    assert len({(what, how) for what, how, _ in figures}) == len(figures) == 20
    assert all(cost > 0 for _, _, cost in figures)


@pytest.mark.slow
def test_few_files_are_entered_for_one_point() -> None:
    counted = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.files"],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    sides = re.findall(r"^(producer|worker) .* +([1-9]\d*) +([1-9]\d*)$", counted.stdout, re.MULTILINE)
    assert [side for side, _, _ in sides] == ["producer"] * 4 + ["worker"] * 4
    one_point = {side: int(entered) for side, entered, _ in reversed(sides)}
    assert one_point["producer"] <= 12
    assert one_point["worker"] <= 20


async def test_a_short_measurement_of_metrics_gives_figures() -> None:
    figures = await measure(messages=300, rounds=1)
    assert [size for size, _, _ in figures] == list(SIZES)
    assert all(on > 0 for _, on, _ in figures)


@pytest.mark.slow
async def test_good_writes_are_measured_beside_each_collection_that_fails(amqp: Address, tmp_path: Path) -> None:
    try:
        found = await neighbours(amqp, tmp_path, 40)
    except NoQdrantError as error:
        pytest.skip(str(error))
    assert [each.beside for each in found] == [*NAMES, "all"]
    assert all(each.number == 40 and 0 < each.p50 <= each.p99 <= each.most for each in found)
    assert all(0 < each.alone_p50 <= each.alone_p99 for each in found)


@pytest.mark.slow
async def test_few_tenants_give_figures(amqp: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = ((0, ""), (2, "shared"), (2, "own"))
    monkeypatch.setattr("tests.benchmarks.tenants.CROWDS", crowd)
    found = await crowds(amqp, tmp_path, messages=4)
    assert [(each.tenants, each.lanes, each.points) for each in found] == [(*each, 400) for each in crowd]
    figures = [(each.applied, each.ready_cpu, each.idle_mib, each.peak_mib, each.scrape_kib) for each in found]
    assert min(map(min, figures)) > 0, found


@pytest.mark.slow
async def test_each_limit_has_a_measured_rate(amqp: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = (("points_per_second", 200, 1), ("bytes_per_second", 2_000_000, 100), ("requests_per_second", 20, 0))
    monkeypatch.setattr("tests.benchmarks.limits.RATES", rates)
    found = await limited(amqp, tmp_path, seconds=2)
    assert [(each.limit, each.per_second, each.points_per_message) for each in found] == list(rates)
    assert all(each.seconds > 0 and each.measured > 0 for each in found)
