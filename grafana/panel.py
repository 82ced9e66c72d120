"""A panel as Grafana wants it, and what the tests hold it to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["stat", "timeseries", "heatmap", "table"]
Cold = Literal["zero", "one", "value"]


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`width` is of 24, `steps` are (from, colour) with the first colour from minus infinity."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    steps: tuple[tuple[float, str], ...] = ()
    words: tuple[tuple[int, str], ...] = ()
    """What a value is called."""
    maximum: float | None = None
    decimals: int | None = None
    named: bool = False
    """True when the legend is what there is to read."""
    cold: Cold = "zero"
    """What every one of its series is before the first message; `value` is any number."""
    moves: bool = False
    """True when messages of every sort have to change it."""
    optional: bool = False
    """True for what a Qdrant server alone has: with the embedded engine there is none to scrape."""

    def lowered(self, number: int, x: int, y: int) -> dict[str, Any]:
        place = {"h": self.height, "w": self.width, "x": x, "y": y}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATA_SOURCE,
            "gridPos": place,
            "fieldConfig": {"defaults": self._field(), "overrides": []},
            "options": self._options(),
            "targets": [self._target(query, letter) for query, letter in zip(self.queries, "ABCDEF", strict=False)],
            **({"transformations": _TABLE} if self.kind == "table" else {}),
        }

    def _options(self) -> dict[str, Any]:
        options = _OPTIONS[self.kind]
        if self.kind == "heatmap":
            return options | {"yAxis": {"unit": self.unit}}
        return options | {"textMode": "value_and_name"} if self.named else options

    def _target(self, query: Query, letter: str) -> dict[str, Any]:
        once = self.kind in ("stat", "table")
        return {
            "refId": letter,
            "datasource": DATA_SOURCE,
            "editorMode": "code",
            "expr": query.expression,
            "legendFormat": query.legend,
            "format": {"heatmap": "heatmap", "table": "table"}.get(self.kind, "time_series"),
            "instant": once,
            "range": not once,
        }

    def _field(self) -> dict[str, Any]:
        nothing = "no Qdrant server is scraped" if self.optional else "nothing is scraped"
        field: dict[str, Any] = {"unit": self.unit, "noValue": nothing, "color": {"mode": "palette-classic"}}
        if self.kind == "timeseries":
            style = {"mode": "dashed"} if self.steps else {"mode": "off"}
            field["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 10,
                "showPoints": "never",
                "thresholdsStyle": style,
            }
            field["min"] = 0
        if self.kind == "stat":
            field["color"] = {"mode": "thresholds"}
        if self.maximum is not None:
            field["max"] = self.maximum
        if self.decimals is not None:
            field["decimals"] = self.decimals
        steps = self.steps or ((float("-inf"), "green"),)
        field["thresholds"] = {
            "mode": "absolute",
            "steps": [
                {"color": colour, "value": None if place == 0 else start} for place, (start, colour) in enumerate(steps)
            ],
        }
        if self.words:
            named = {str(value): {"text": text, "index": index} for index, (value, text) in enumerate(self.words)}
            field["mappings"] = [{"type": "value", "options": named}]
        return field


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "steps": 64},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
    },
    "table": {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": "messages", "desc": True}]},
}

_TABLE = [
    {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"Value": "messages"}}},
]
