"""A dashboard as Grafana wants it: rows of panels, laid out from left to right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grafana.panel import DATA_SOURCE, Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 24
SCHEMA_VERSION = 39
DATA_SOURCE_UID = "prometheus"

NOT_THE_WATCHDOG = 'alertstate="firing",alertname!="Watchdog"'


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice among a label's values; at first all of them."""

    name: str
    label: str
    query: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> Iterator[Panel]:
        return (panel for row in self.rows for panel in row.panels)

    def lowered(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["memq"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "utc",
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
            "links": [_LINKS],
            "annotations": {"list": _ANNOTATIONS},
            "templating": {"list": [_DATA_SOURCE_CHOICE, *(_choice(variable) for variable in self.variables)]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[dict[str, Any]]:
        number, y = 0, 0
        for row in self.rows:
            number += 1
            head = {"id": number, "type": "row", "title": row.title, "collapsed": row.collapsed, "panels": []}
            head["gridPos"] = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            y += 1
            placed, after = _laid_out(row.panels, number, y)
            number += len(placed)
            if row.collapsed:
                # Grafana keeps the panels of a closed row inside it, and gives them no room.
                yield head | {"panels": placed}
                continue
            yield head
            yield from placed
            y = after


def _laid_out(panels: tuple[Panel, ...], number: int, y: int) -> tuple[list[dict[str, Any]], int]:
    """The panels, and the first line below them."""
    placed: list[dict[str, Any]] = []
    x = tallest = 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        number += 1
        placed.append(panel.lowered(number, x, y))
        x += panel.width
        tallest = max(tallest, panel.height)
    return placed, y + tallest


def _choice(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": DATA_SOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "definition": variable.query,
        "refresh": 2,
        "sort": 3,
        "multi": False,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": "All", "value": "$__all"},
    }


# Without a current value panels look for a data source that is called "${datasource}".
_DATA_SOURCE_CHOICE = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "refresh": 1,
    "multi": False,
    "includeAll": False,
    "current": {"selected": True, "text": "Prometheus", "value": DATA_SOURCE_UID},
}

_LINKS = {"type": "dashboards", "title": "memq", "tags": ["memq"], "asDropdown": False, "keepTime": True}

_ANNOTATIONS: list[dict[str, Any]] = [
    {
        "name": "Alerts",
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f"ALERTS{{{NOT_THE_WATCHDOG}}}",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}} {{instance}} {{queue}} {{code}}",
    },
    {
        "name": "Worker starts",
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": 'changes(process_start_time_seconds{job="memq"}[$__rate_interval]) > 0',
        "titleFormat": "worker {{worker}} of {{instance}} started",
        "textFormat": "",
    },
]
