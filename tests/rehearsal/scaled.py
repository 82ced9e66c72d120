"""The shipped rules of Prometheus with every duration divided by one factor, so that an hour passes in minutes."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from stack.prometheus import CONFIGURATION

if TYPE_CHECKING:
    from pathlib import Path

RULES = ("recording.yml", "alerts.yml")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
DURATION = re.compile(r"(\d+)(ms|[smhdw])")
RANGE = re.compile(r"\[((?:\d+(?:ms|[smhdw]))+)(?:(:)((?:\d+(?:ms|[smhdw]))*))?\]")


def seconds(duration: str) -> float:
    """Return a duration of Prometheus, such as `1h30m`, in seconds."""
    return sum(int(number) * SECONDS[unit] for number, unit in DURATION.findall(duration))


def divided(duration: str, factor: float) -> str:
    """Return `duration` divided by `factor`, in milliseconds, and no less than one."""
    return f"{max(1, round(seconds(duration) / factor * 1000))}ms"


def scaled(document: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return a file of rules with every `for`, `interval` and range in an expression divided by `factor`."""
    return {"groups": [_group(group, factor) for group in document["groups"]]}


def _group(group: dict[str, Any], factor: float) -> dict[str, Any]:
    changed = {**group, "rules": [_rule(rule, factor) for rule in group["rules"]]}
    return changed | ({"interval": divided(group["interval"], factor)} if "interval" in group else {})


def _rule(rule: dict[str, Any], factor: float) -> dict[str, Any]:
    expression = RANGE.sub(partial(_range, factor=factor), rule["expr"])
    changed = {**rule, "expr": expression}
    return changed | ({"for": divided(rule["for"], factor)} if "for" in rule else {})


def _range(found: re.Match[str], factor: float) -> str:
    step = divided(found[3], factor) if found[3] else ""
    return f"[{divided(found[1], factor)}{found[2] or ''}{step}]"


def write(home: Path, factor: float) -> Path:
    """Write the scaled rules and the shipped prometheus.yml beside them. Returns the path of that copy."""
    for name in RULES:
        document = yaml.safe_load((CONFIGURATION.parent / name).read_text("utf-8"))
        (home / name).write_text(yaml.safe_dump(scaled(document, factor), sort_keys=False), "utf-8")
    copy = home / "shipped.yml"
    # The Qdrant server of a rehearsal has no key.
    copy.write_text(re.sub(r"(?m)^    authorization: .*\n", "", CONFIGURATION.read_text("utf-8")), "utf-8")
    return copy


def alerts() -> dict[str, float]:
    """Return the seconds that each shipped alert has to last before it fires."""
    document = yaml.safe_load((CONFIGURATION.parent / "alerts.yml").read_text("utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    return {rule["alert"]: seconds(rule.get("for", "")) for rule in rules}
