"""The dashboards, as Grafana reads them: what makes a page fail or say "No data" there is found here."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from grafana import generate
from grafana.panel import NO_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FILES = sorted(generate.FOLDER.glob("*.json"))
UNITS = {
    "none",
    "s",
    "bytes",
    "percentunit",
    "suffix:messages/s",
    "suffix:vectors/s",
    "suffix:calls/s",
    "suffix:limits/s",
}
OPEN_PANELS = 20
QUERIES_PER_REFRESH = 30
METRIC = re.compile(r"\b(?:memq|rabbitmq|process|grpc|collection)[_:][\w:]*(\{[^}]*\}|)")
COUNTER = re.compile(r"\b(?:memq|rabbitmq|process|grpc)_\w*(?:_total|_bucket|_sum|_count)\b")


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def page(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text("utf-8"))


def every_panel(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in page["panels"]:
        yield panel
        yield from panel.get("panels", [])


def with_data(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in every_panel(page) if panel["type"] != "row"]


def expressions(page: dict[str, Any]) -> list[str]:
    asked = [target["expr"] for panel in with_data(page) for target in panel["targets"]]
    return asked + [each["expr"] for each in page["annotations"]["list"]]


def test_the_files_are_what_is_generated() -> None:
    assert generate.files().stale() == [], "run python -m grafana.generate"
    assert [file.stem for file in FILES] == ["memq-dead-letters", "memq-overview", "memq-worker"]


def test_a_changed_file_is_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    generate.files().write()
    (tmp_path / "memq-worker.json").write_text("{}")
    (tmp_path / "left-over.json").write_text("{}")
    assert {path.name for path in generate.files().stale()} == {"memq-worker.json", "left-over.json"}


def test_panels_have_ids_of_their_own(page: dict[str, Any]) -> None:
    """A page with a panel without one does not open at all."""
    ids = [panel["id"] for panel in every_panel(page)]
    assert all(isinstance(number, int) and number > 0 for number in ids)
    assert len(set(ids)) == len(ids)


def test_panels_say_what_they_show(page: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in with_data(page)]
    assert len(set(titles)) == len(titles)
    for panel in with_data(page):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_panels_have_room_and_do_not_overlap(page: dict[str, Any]) -> None:
    closed = [row["panels"] for row in page["panels"] if row.get("collapsed")]
    for panels in (page["panels"], *closed):
        places = [panel["gridPos"] for panel in panels]
        assert all(place["x"] + place["w"] <= 24 and place["w"] > 0 and place["h"] > 0 for place in places)
        for one, other in itertools.combinations(places, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert beside or below, (one, other)


def test_an_open_row_keeps_no_panels_inside_and_a_closed_one_all_of_them(page: dict[str, Any]) -> None:
    for row in (panel for panel in page["panels"] if panel["type"] == "row"):
        assert bool(row["panels"]) == row["collapsed"]


def test_variables_have_a_current_value_and_none_has_an_id(page: dict[str, Any]) -> None:
    """Without the one, Grafana looks for a data source of the variable's name; a variable with a zero id it ignores."""
    variables = page["templating"]["list"]
    assert variables[0]["type"] == "datasource"
    for variable in variables:
        assert variable["current"]["text"]
        assert variable["current"]["value"]
        assert "id" not in variable
    asked = json.dumps(page["panels"]) + json.dumps([variable["query"] for variable in variables])
    used = set(re.findall(r"\$\{?([a-z_]\w*)", asked)) - {"__rate_interval", "__range", "__value"}
    assert used | {"runbooks"} == {variable["name"] for variable in variables}


def test_a_choice_takes_several_values_and_starts_with_all_of_them(page: dict[str, Any]) -> None:
    choices = [each for each in page["templating"]["list"] if each["type"] == "query"]
    assert {"cluster", "vhost", "prefix", "job", "instance"} <= {each["name"] for each in choices}
    for choice in choices:
        assert choice["multi"]
        assert choice["includeAll"]
        assert choice["current"]["value"] == "$__all"


def test_every_panel_keeps_installations_apart(page: dict[str, Any]) -> None:
    """Two installations on one Prometheus differ in virtual host, prefix, job, pool or cluster."""
    for panel in with_data(page):
        for target in panel["targets"]:
            if "ALERTS" not in target["expr"]:
                for metric in re.findall(
                    r"\b(?:memq|rabbitmq|process|grpc|collection)[_:][\w:]*(\{[^}]*\}|)", target["expr"]
                ):
                    assert "$cluster" in metric or "$job" in metric, (panel["title"], target["expr"])


def test_a_refresh_of_the_open_panels_stays_within_its_budget(page: dict[str, Any]) -> None:
    panels = [panel for panel in page["panels"] if panel["type"] != "row"]
    queries = sum(len(panel["targets"]) for panel in panels) + len(page["annotations"]["list"])
    if page["uid"] == "memq-overview":
        assert len(panels) <= OPEN_PANELS
        assert queries <= QUERIES_PER_REFRESH


def test_a_line_of_panels_has_no_hole(page: dict[str, Any]) -> None:
    closed = [row["panels"] for row in page["panels"] if row.get("collapsed")]
    for panels in ([panel for panel in page["panels"] if panel["type"] != "row"], *closed):
        rows = {panel["gridPos"]["y"] for panel in page["panels"] if panel["type"] == "row"}
        cells = {
            (x, y)
            for panel in panels
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        }
        for line in {y for _, y in cells} - rows:
            assert sum(y == line for _, y in cells) == 24, (page["uid"], line)


def test_legends_begin_with_the_largest_value(page: dict[str, Any]) -> None:
    for panel in with_data(page):
        if panel["type"] == "timeseries" and panel["title"] != "Messages waiting":
            assert panel["options"]["legend"]["sortBy"] == "Last *"
            assert panel["options"]["legend"]["sortDesc"] is True
    waiting = [panel for panel in with_data(page) if panel["title"] == "Messages waiting"]
    assert all('queue=~"write' in panel["targets"][0]["expr"] for panel in waiting)


def test_missing_data_is_grey(page: dict[str, Any]) -> None:
    for panel in with_data(page):
        first, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert first == {"color": NO_DATA, "value": None}
        assert all(step["color"] != NO_DATA for step in steps)
        assert steps
        if panel["type"] == "stat":
            absent = panel["fieldConfig"]["defaults"]["mappings"][0]
            assert absent["options"]["match"] == "null+nan"
            assert absent["options"]["result"]["color"] == NO_DATA
            assert all("or vector(0)" not in target["expr"] for target in panel["targets"])


def test_links_between_pages_keep_what_was_chosen(page: dict[str, Any]) -> None:
    (link,) = page["links"]
    assert link["keepTime"]
    assert link["includeVars"]


def test_marks_are_for_critical_alerts_only(page: dict[str, Any]) -> None:
    (marks,) = page["annotations"]["list"]
    assert 'severity="critical"' in marks["expr"]


def test_the_folder_and_the_pages_have_different_names() -> None:
    """Grafana before 12 refuses to provision a page with the name of its folder."""
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/memq.yml").read_text("utf-8"))["providers"]
    titles = {json.loads(file.read_text("utf-8"))["title"] for file in FILES}
    assert provider["folder"].lower() not in {title.lower() for title in titles}


def test_every_query_goes_to_the_chosen_data_source(page: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    choices = [each for each in page["templating"]["list"] if each["type"] == "query"]
    asking = [*with_data(page), *page["annotations"]["list"], *choices]
    assert all(each["datasource"] == chosen for each in asking)
    assert all(target["datasource"] == chosen for panel in with_data(page) for target in panel["targets"])


def test_counters_are_shown_as_rates_over_a_window_that_fits_the_scrapes(page: dict[str, Any]) -> None:
    for expression in expressions(page):
        ranged = re.findall(r"\b(\w+)\((\w+)(?:\{[^}]*\})?\[([^\]]+)\]", expression)
        assert all(
            window == "$__rate_interval" or (function == "increase" and window in ("1h", "$__range"))
            for function, _, window in ranged
        ), expression
        inside = {name for function, name, _ in ranged if function in ("rate", "increase")}
        assert set(COUNTER.findall(expression)) <= inside, expression


def test_nobody_edits_what_is_generated_and_the_page_keeps_itself_current(page: dict[str, Any]) -> None:
    assert page["editable"] is False
    assert page["refresh"] == "10s"
    assert page["time"] == {"from": "now-1h", "to": "now"}
    assert page["uid"].startswith("memq-")
    assert page["schemaVersion"] >= 36
    assert "__inputs" not in page


def test_queries_once_are_instant_and_queries_over_time_are_not(page: dict[str, Any]) -> None:
    for panel in with_data(page):
        for target in panel["targets"]:
            assert target["instant"] == (panel["type"] in ("stat", "table"))
            assert target["instant"] != target["range"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_the_provisioned_data_source_is_the_current_one_and_knows_the_scrape_interval() -> None:
    folder = ROOT / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    current = {json.loads(file.read_text("utf-8"))["templating"]["list"][0]["current"]["value"] for file in FILES}
    assert {source["uid"]} == current
    scraped = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text("utf-8"))["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
    (provider,) = yaml.safe_load((folder / "dashboards/memq.yml").read_text("utf-8"))["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


def test_the_documentation_has_the_values_of_every_panel() -> None:
    _, _, text = (ROOT / "docs/reference/dashboards.md").read_text("utf-8").partition("<!-- panels -->")
    written = re.findall(r"(?m)^\| (.+?) \| .+ \| .+ \|$", text)
    titles = [title for board in generate.DASHBOARDS for title in ("panel", *(panel.title for panel in board.panels))]
    assert written == titles, "run python -m tests.benchmarks.panels --write"
