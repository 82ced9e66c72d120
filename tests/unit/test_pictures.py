"""The pictures of the dashboards: the order of legends, colours and words are Grafana's, and every kind is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from grafana.generate import DASHBOARDS
from grafana.panel import NO_DATA, Panel, Query
from grafana.picture.page import write
from grafana.picture.panels import COLOURS, colour, lines, ordered
from grafana.picture.values import formatted, legend
from stack.prometheus import Curve
from tests.benchmarks.pictures import FOLDER, MOMENTS

if TYPE_CHECKING:
    from pathlib import Path

    from grafana.dashboard import Dashboard

TIMES = np.arange(-10.0, 1.0)


def curve(*values: float, **labels: str) -> Curve:
    return Curve(labels, TIMES[-len(values) :], np.array(values))


def panel(unit: str = "none", **more: object) -> Panel:
    return Panel("Refused", "Codes.", unit, (Query("up", "{{code}}"),), **more)  # type: ignore[arg-type]


def test_a_legend_begins_with_the_largest_last_value() -> None:
    drawn = lines(panel(), [[curve(9, 1, code="a"), curve(0, 7, code="b"), curve(1, 7, code="ab")]])
    assert [line.name for line in ordered(panel(), drawn)] == ["ab", "b", "a"]
    assert [line.name for line in ordered(panel(order="query"), drawn)] == ["a", "b", "ab"]


def test_a_series_without_a_last_value_has_its_latest_one_and_stands_last_without_any() -> None:
    nothing = float("nan")
    drawn = lines(panel(), [[curve(nothing, nothing, code="none"), curve(3, nothing, code="three")]])
    assert ordered(panel(), drawn)[0].last == 3
    assert [line.name for line in ordered(panel(), drawn)] == ["three", "none"]


def test_colours_are_those_of_the_highest_threshold_and_grey_without_a_value() -> None:
    steps = panel(steps=((0, "green"), (10, "orange"), (100, "red")))
    assert [colour(steps, value) for value in (0, 10, 99.9, 100)] == [
        COLOURS[name] for name in ("green", "orange", "orange", "red")
    ]
    assert colour(steps, float("nan")) == NO_DATA


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("s", 0.0124, "12.4 ms"),
        ("s", 90, "1.5 min"),
        ("s", 86400, "1 day"),
        ("bytes", 2**20 * 113, "113 MiB"),
        ("percentunit", 0.5, "50 %"),
        ("suffix:messages/s", 14.52, "14.5 messages/s"),
        ("none", 534, "534"),
        ("none", float("nan"), "no data"),
    ],
)
def test_values_have_the_panel_s_unit(unit: str, value: float, text: str) -> None:
    assert formatted(panel(unit), value) == text


def test_words_stand_for_values() -> None:
    assert formatted(panel(words=((0, "writable"), (1, "writes held"))), 1.0) == "writes held"


def test_names_of_series_have_their_labels() -> None:
    assert legend("{{process}} of {{instance}}", {"process": "parent"}) == "parent of "


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
@pytest.mark.parametrize("answered", [True, False])
def test_every_page_is_drawn_with_and_without_data(board: Dashboard, answered: bool, tmp_path: Path) -> None:
    found = [curve(1, 2, 3, le="0.1", alertname="QdrantDown"), curve(2, 4, 8, le="+Inf")] if answered else []
    answers = {each.title: [found] * len(each.queries) for each in board.panels}
    path = tmp_path / "page.png"
    write(path, board, "under test", answers, [5.0], 10)
    with Image.open(path) as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24) or []) > 10


def test_each_page_has_a_picture_of_each_moment() -> None:
    wanted = {f"{board.uid.removeprefix('memq-')}-{moment}.png" for board in DASHBOARDS for moment in MOMENTS}
    assert {path.name for path in FOLDER.glob("*.png")} == wanted
    text = (FOLDER.parent / "dashboards.md").read_text("utf-8")
    assert all(f"pictures/{name}" in text for name in wanted)
