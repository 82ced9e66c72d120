"""A dashboard as Grafana reads it: rows of panels, laid out from left to right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grafana.panel import DATA_SOURCE, Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 24
SCHEMA_VERSION = 39
DATA_SOURCE_UID = "prometheus"


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of one or more of a label's values; at first all of them.

    every: regular expression that "All" stands for; None expands it to the values that the query has.
    """

    name: str
    label: str
    query: str
    every: str | None = None


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
            "templating": {
                "list": [_DATA_SOURCE_CHOICE, *(_choice(variable) for variable in self.variables), _RUNBOOKS]
            },
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[dict[str, Any]]:
        number, y = 0, 0
        for row in self.rows:
            number += 1
            head = {"id": number, "type": "row", "title": row.title, "collapsed": row.collapsed, "panels": []}
            head["gridPos"] = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            y += 1
            found, after = laid_out(row.panels, y)
            placed = [panel.lowered(number + place, x, top) for place, (panel, x, top) in enumerate(found, 1)]
            number += len(placed)
            if row.collapsed:
                # Grafana keeps the panels of a closed row inside it, and gives them no room.
                yield head | {"panels": placed}
                continue
            yield head
            yield from placed
            y = after


def laid_out(panels: tuple[Panel, ...], y: int) -> tuple[list[tuple[Panel, int, int]], int]:
    """Return the panels with x and y, each at the highest free place from the left, and the first line below them."""
    placed: list[tuple[Panel, int, int]] = []
    floor = [y] * COLUMNS  # per column, the first free line
    for panel in panels:
        top, x = min((max(floor[x : x + panel.width]), x) for x in range(COLUMNS - panel.width + 1))
        placed.append((panel, x, top))
        floor[x : x + panel.width] = [top + panel.height] * panel.width
    return placed, max(floor)


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
        "multi": True,
        "includeAll": True,
        "allValue": variable.every,
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

# Every pool serves the runbooks beside its metrics.
_RUNBOOKS = {
    "type": "textbox",
    "name": "runbooks",
    "label": "Runbooks",
    "hide": 2,
    "query": "http://127.0.0.1:9464/runbooks",
    "current": {"text": "http://127.0.0.1:9464/runbooks", "value": "http://127.0.0.1:9464/runbooks"},
}

_LINKS = {
    "type": "dashboards",
    "title": "memq",
    "tags": ["memq"],
    "asDropdown": False,
    "keepTime": True,
    "includeVars": True,
}

# One mark where a critical alert begins to fire; a band for as long as it fires would cover the page.
# An alert has the labels that its rule keeps; one without a label belongs to every choice.
FIRING = 'alertstate="firing",cluster=~"$cluster|",job=~"$job|rabbitmq.*|qdrant.*|",vhost=~"$vhost|",prefix=~"$prefix|"'
_CRITICAL = f'ALERTS{{{FIRING},severity="critical"}}'
_ANNOTATIONS: list[dict[str, Any]] = [
    {
        "name": "Critical alerts",
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f"{_CRITICAL} unless {_CRITICAL} offset 1m",
        "step": "60s",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{queue}} {{code}}",
    },
]
