"""Every panel and every alert asked of a real Prometheus that scrapes the real thing, before any message and after."""

from __future__ import annotations

import asyncio
import math
import re
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from grafana.generate import DASHBOARDS
from stack.prometheus import CONFIGURATION, Series
from tests.support.observed import Observed, Values, load, observed, substituted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from grafana.panel import Panel
    from stack.broker import Server
    from stack.prometheus import Programs

# RabbitMQ names its metrics differently from version to version.
pytestmark = [pytest.mark.integration, pytest.mark.broker_semantics]

PANELS = {f"{board.uid}: {panel.title}": panel for board in DASHBOARDS for panel in board.panels}
# What a Qdrant server alone has, so that the embedded engine's run cannot know it; grafana/dependencies.py says so.
REQUIRED = {name: panel for name, panel in PANELS.items() if not panel.optional}
# memq's metrics that no panel and no rule asks for, and why.
UNUSED: dict[str, str] = {}
HOURLY_RECORDS = {"memq:error_budget_left:ratio30d"}
METRIC = re.compile(r"\b((?:memq|rabbitmq|process)_\w+|memq:[\w:]+)\b")


@dataclass
class Told:
    """What Prometheus said, by panel, and by alert whether its expression had a value."""

    cold: dict[str, Values]
    loaded: dict[str, Values]
    alerts_cold: dict[str, list[Series]]
    alerts_loaded: dict[str, list[Series]]
    annotations: list[list[Series]]
    rules: list[dict[str, Any]]
    metrics: set[str]
    page: str


@pytest.fixture(scope="module")
def told(server: Server, prometheus_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return asyncio.run(ask(server, prometheus_programs, tmp_path_factory.mktemp("observed")))


async def ask(server: Server, programs: Programs, home: Path) -> Told:
    async with observed(server, programs, home) as seen:
        rules = await seen.prometheus.rules()
        cold, alerts_cold = await panels(seen), await alerts(seen, rules)
        await load(seen)
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(seen.metrics_url, timeout=10).read().decode())
        return Told(
            cold=cold,
            loaded=await panels(seen),
            alerts_cold=alerts_cold,
            alerts_loaded=await alerts(seen, rules),
            annotations=[
                await seen.prometheus.query(substituted(each["expr"]))
                for board in DASHBOARDS
                for each in board.lowered()["annotations"]["list"]
            ],
            rules=await seen.prometheus.rules(),
            metrics=await seen.prometheus.metrics(),
            page=page,
        )


async def panels(seen: Observed) -> dict[str, Values]:
    """The optional ones too: they have to be valid."""
    return {name: await seen.panel(panel) for name, panel in PANELS.items()}


async def alerts(seen: Observed, rules: list[dict[str, Any]]) -> dict[str, list[Series]]:
    return {rule["name"]: await seen.prometheus.query(rule["query"]) for rule in rules if rule["type"] == "alerting"}


@pytest.mark.parametrize("name", REQUIRED)
def test_before_any_message_a_panel_has_a_value_and_never_no_data(told: Told, name: str) -> None:
    panel = REQUIRED[name]
    for query, series in zip(panel.queries, told.cold[name], strict=True):
        assert series, f"No data: {query.expression}"
        values = [each.value for each in series]
        assert not any(map(math.isnan, values))
        assert all(map(math.isfinite, values))
        if panel.cold != "value":
            assert set(values) == {0.0 if panel.cold == "zero" else 1.0}, named(series)


@pytest.mark.parametrize("name", REQUIRED)
def test_after_messages_of_every_sort_a_panel_has_moved(told: Told, name: str) -> None:
    panel = REQUIRED[name]
    for query, before, after in zip(panel.queries, told.cold[name], told.loaded[name], strict=True):
        assert after, f"No data: {query.expression}"
        assert all(math.isfinite(each.value) for each in after)
        assert named(before).keys() <= named(after).keys(), "no series goes away"
        if panel.moves and not panel.recorded_hourly:
            assert named(after) != named(before), query.expression


def named(series: list[Series]) -> dict[frozenset[tuple[str, str]], float]:
    return {frozenset(each.labels.items()): each.value for each in series}


def test_before_any_message_nothing_alerts_but_the_watchdog(told: Told) -> None:
    assert {name for name, series in told.alerts_cold.items() if series} == {"Watchdog"}


def test_after_messages_of_every_sort_the_right_alerts_see_it(told: Told) -> None:
    seen = {name for name, series in told.alerts_loaded.items() if series}
    assert seen == {"Watchdog", "MemqDeadLettered", "MemqDeadLettersWaiting"}
    codes = {each.labels["code"] for each in told.alerts_loaded["MemqDeadLettered"]}
    assert codes == {"malformed", "wrong_dimension", "store_error"}


def test_rules_are_all_read_and_evaluate(told: Told) -> None:
    folder = CONFIGURATION.parent
    written = [yaml.safe_load((folder / name).read_text("utf-8")) for name in ("recording.yml", "alerts.yml")]
    names = [
        rule.get("alert") or rule["record"] for file in written for group in file["groups"] for rule in group["rules"]
    ]
    assert sorted(rule["name"] for rule in told.rules) == sorted(names)
    # A rule that is evaluated once an hour has not been evaluated yet.
    health = {rule["health"] for rule in told.rules if rule["name"] not in HOURLY_RECORDS}
    assert health == {"ok"}, [rule.get("lastError") for rule in told.rules]


def test_annotations_can_be_asked_and_no_alert_below_critical_is_marked(told: Told) -> None:
    assert all(series == [] for series in told.annotations), "only critical alerts are marked"


def asked(told: Told, panels: Mapping[str, Panel]) -> set[str]:
    expressions = [query.expression for panel in panels.values() for query in panel.queries]
    expressions += [rule["query"] for rule in told.rules]
    without_labels = (re.sub(r"\{[^}]*\}", "", expression) for expression in expressions)
    return {metric for expression in without_labels for metric in METRIC.findall(expression)}


def test_every_metric_that_is_asked_for_exists(told: Told) -> None:
    missing = asked(told, REQUIRED) - told.metrics - HOURLY_RECORDS
    assert {metric for metric in missing if not metric.startswith("memq_tenant_")} == set(), "there are no tenants"


def test_every_metric_of_a_worker_is_asked_for_or_left_out_on_purpose(told: Told) -> None:
    exported = set(re.findall(r"(?m)^# TYPE (memq_\w+) ", told.page))
    stems = {re.sub(r"_(bucket|count|sum)$", "", metric) for metric in asked(told, PANELS)}
    assert len(exported) > 25
    assert exported - stems - UNUSED.keys() == set()
    assert UNUSED.keys() <= exported - stems
