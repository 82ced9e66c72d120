"""The rehearsal of the runbooks covers every alert, with rules that differ from the shipped ones in times alone."""

from __future__ import annotations

import re

import pytest
import yaml

from stack.prometheus import CONFIGURATION
from tests.rehearsal.__main__ import BY_DESIGN
from tests.rehearsal.incidents import INCIDENTS
from tests.rehearsal.scaled import RULES, alerts, divided, scaled, seconds
from tests.rehearsal.sections import sections


def test_every_alert_has_its_incident_and_its_commands() -> None:
    assert sorted(INCIDENTS.keys() | BY_DESIGN.keys()) == sorted(alerts())
    assert all(sections()[name] for name in INCIDENTS)


@pytest.mark.parametrize(("duration", "expected"), [("1m", 60), ("1h30m", 5400), ("250ms", 0.25), ("30d", 2592000)])
def test_durations_are_read_as_prometheus_writes_them(duration: str, expected: float) -> None:
    assert seconds(duration) == expected


def test_a_range_is_never_divided_to_nothing() -> None:
    assert (divided("1h", 20), divided("1ms", 1000)) == ("180000ms", "1ms")


@pytest.mark.parametrize("name", RULES)
def test_only_times_differ_from_the_shipped_rules(name: str) -> None:
    shipped = yaml.safe_load((CONFIGURATION.parent / name).read_text("utf-8"))
    rules = [rule for group in shipped["groups"] for rule in group["rules"]]
    changed = [rule for group in scaled(shipped, 20)["groups"] for rule in group["rules"]]
    ranges = re.compile(r"\[[^\]]*\]")
    for before, after in zip(rules, changed, strict=True):
        assert ranges.sub("", before["expr"]) == ranges.sub("", after["expr"])
        assert before.get("labels") == after.get("labels")
        # Character classes of label matchers stay; every range is in milliseconds.
        outside = re.sub(r'"[^"]*"', "", after["expr"])
        assert all(re.fullmatch(r"\[\d+ms(:(\d+ms)?)?\]", found) for found in ranges.findall(outside))
