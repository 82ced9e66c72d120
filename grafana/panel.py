"""A panel as Grafana wants it, and what the tests hold it to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NO_DATA = "#808080"  # grey: not measured, so neither well nor ill

Kind = Literal["stat", "timeseries", "heatmap", "table"]
Cold = Literal["zero", "one", "value"]
Order = Literal["value", "query"]

MESSAGES_PER_SECOND = "suffix:messages/s"
VECTORS_PER_SECOND = "suffix:vectors/s"
CALLS_PER_SECOND = "suffix:calls/s"


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link on every value of a table's column."""

    column: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`width` is of 24 columns. `steps` are (from, colour), ascending; below the first and without data it is grey."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    steps: tuple[tuple[float, str], ...] = ()
    words: tuple[tuple[int, str], ...] = ()
    """Text to show in place of a value."""
    maximum: float | None = None
    decimals: int | None = None
    named: bool = False
    """True when the legend is the information."""
    order: Order = "value"
    """Order of the legend: largest value first, or as queried."""
    links: tuple[Link, ...] = ()
    columns: tuple[str, ...] = ()
    """Labels that a table shows, in order; empty shows all."""
    cold: Cold = "zero"
    """Value of every series before the first message; `value` is any number."""
    moves: bool = False
    """True when messages of every sort have to change it."""
    optional: str = ""
    """Text for the absence of metrics that only some installations have; empty if every installation has them."""
    recorded_hourly: bool = False

    def lowered(self, number: int, x: int, y: int) -> dict[str, Any]:
        place = {"h": self.height, "w": self.width, "x": x, "y": y}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATA_SOURCE,
            "gridPos": place,
            "fieldConfig": {"defaults": self._field(), "overrides": [_linked(link) for link in self.links]},
            "options": self._options(),
            "targets": [self._target(query, letter) for query, letter in zip(self.queries, "ABCDEF", strict=False)],
            **({"transformations": self._table()} if self.kind == "table" else {}),
        }

    def _options(self) -> dict[str, Any]:
        options = _OPTIONS[self.kind]
        if self.kind == "heatmap":
            return options | {"yAxis": {"unit": self.unit}}
        if self.kind == "timeseries":
            # On the right a legend has the panel's whole height, so that the largest values are in view.
            legend = {
                "displayMode": "table",
                "placement": "right" if self.width >= 12 else "bottom",
                "calcs": ["lastNotNull", "max"],
                "showLegend": True,
            }
            if self.order == "value":
                legend |= {"sortBy": "Last *", "sortDesc": True}
            return options | {"legend": legend}
        return options | {"textMode": "value_and_name"} if self.named else options

    def _table(self) -> list[dict[str, Any]]:
        organized: dict[str, Any] = {"excludeByName": {"Time": True}, "renameByName": {"Value": "messages"}}
        if self.columns:
            organized = {
                "excludeByName": {"Time": True, "Value": True},
                "includeByName": dict.fromkeys(self.columns, True),
                "indexByName": {name: place for place, name in enumerate(self.columns)},
                "renameByName": {},
            }
        return [{"id": "organize", "options": organized}]

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
        field: dict[str, Any] = {"unit": self.unit, "noValue": self.absent, "color": {"mode": "palette-classic"}}
        if self.kind == "timeseries":
            field["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 10,
                "showPoints": "never",
                "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
            }
            field["min"] = 0
        if self.kind == "stat":
            field["color"] = {"mode": "thresholds"}
        if self.maximum is not None:
            field["max"] = self.maximum
        if self.decimals is not None:
            field["decimals"] = self.decimals
        field["thresholds"] = {
            "mode": "absolute",
            "steps": [
                {"color": NO_DATA, "value": None},
                *({"color": colour, "value": max(start, _LOWEST)} for start, colour in self.steps or _NEUTRAL),
            ],
        }
        field["mappings"] = self._mappings() if self.kind == "stat" else []
        return field

    @property
    def absent(self) -> str:
        """Text that stands for missing data."""
        return self.optional or ("evaluated once an hour" if self.recorded_hourly else "no data")

    def _mappings(self) -> list[dict[str, Any]]:
        absent = {"match": "null+nan", "result": {"text": self.absent, "color": NO_DATA}}
        mappings: list[dict[str, Any]] = [{"type": "special", "options": absent}]
        if self.words:
            named = {str(value): {"text": text, "index": index} for index, (value, text) in enumerate(self.words)}
            mappings.append({"type": "value", "options": named})
        return mappings


# A measured value that is neither well nor ill.
_LOWEST = -1e9  # JSON has no infinity
_NEUTRAL = ((0.0, "blue"),)


def _linked(link: Link) -> dict[str, Any]:
    target = {"title": link.title, "url": link.url, "targetBlank": True}
    return {
        "matcher": {"id": "byName", "options": link.column},
        "properties": [{"id": "links", "value": [target]}],
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {"tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True}},
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "steps": 64},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
    },
    "table": {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": "messages", "desc": True}]},
}
