"""The benchmark itself, made small: it measures what it says, and cannot rot."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from memq_schemas import Upsert
from tests.benchmarks.drain import drain
from tests.benchmarks.ingest import ingest
from tests.benchmarks.load import DIMENSIONS, Form, bodies
from tests.benchmarks.logs import measured
from tests.benchmarks.metrics import SIZES, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = [pytest.mark.benchmark, pytest.mark.integration]


@pytest.mark.parametrize("form", ["base64", "lists"])
def test_the_load_is_what_the_contract_takes(form: Form) -> None:
    first, second = bodies(2, 3, form)
    points = Upsert.model_validate_json(first).points + Upsert.model_validate_json(second).points
    assert len({point.id for point in points}) == 6
    if form == "lists":
        assert all(len(point.vector) == DIMENSIONS for point in points)
    assert 200 <= len(orjson.dumps(points[0].payload)) <= 320


async def test_a_small_drain_gives_figures(amqp: Address, tmp_path: Path) -> None:
    figures = await drain(amqp, tmp_path, "base64", messages=30, points=20)
    assert figures.points == 600
    assert figures.points_per_second > 0
    assert figures.store_cpu > 0


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
    assert len({(what, how) for what, how, _ in figures}) == len(figures) == 18
    assert all(cost > 0 for _, _, cost in figures)


async def test_a_short_measurement_of_metrics_gives_figures() -> None:
    figures = await measure(messages=300, rounds=1)
    assert [size for size, _, _ in figures] == list(SIZES)
    assert all(on > 0 for _, on, _ in figures)
