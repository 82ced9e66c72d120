"""One panel of each kind, as Grafana shows it: thresholds, colours, and the order of the legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grafana.panel import NO_DATA
from grafana.picture.canvas import FAINT, LINE, TEXT, Box
from grafana.picture.values import formatted, legend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from grafana.panel import Panel
    from grafana.picture.canvas import Canvas
    from stack.prometheus import Curve

    Answers = Sequence[Sequence[Curve]]

# Grafana's names of colours, and its palette for lines.
COLOURS = {"green": "#56a64b", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9"}
PALETTE = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300")
TITLE = 24  # pixels of a panel's head
ROW = 15  # pixels of a line of a legend or a table
LETTER = 5.4  # mean width of a letter of 8 points


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel in the colour that its place in the query gives it."""

    name: str
    colour: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float:
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if len(known) else float("nan")

    @property
    def maximum(self) -> float:
        return float(np.nanmax(self.values)) if not np.isnan(self.values).all() else float("nan")


def draw(canvas: Canvas, panel: Panel, box: Box, answers: Answers, marks: Sequence[float], span: float) -> None:
    """Draw one panel.

    answers: the series of each of its queries.   marks: seconds before now at which a critical alert began to fire.
    span: seconds that the time axis shows.
    """
    canvas.rectangle(box, "white", LINE)
    canvas.text(box.left + 8, box.top + 7, _cut(panel.title, box.width - 16), weight="bold")
    inside = box.inset(8, TITLE, 8, 8)
    found = lines(panel, answers)
    match panel.kind:
        case "stat":
            _stat(canvas, panel, inside, found)
        case "table":
            _table(canvas, panel, inside, answers)
        case "heatmap":
            _heatmap(canvas, panel, inside, found, span)
        case "timeseries":
            _timeseries(canvas, panel, inside, found, marks, span)


def lines(panel: Panel, answers: Answers) -> list[Line]:
    """Return the series in the order of the queries, with colours and names."""
    pairs = [(query, curve) for query, curves in zip(panel.queries, answers, strict=True) for curve in curves]
    return [
        Line(legend(query.legend, curve.labels), PALETTE[place % len(PALETTE)], curve.times, curve.values)
        for place, (query, curve) in enumerate(pairs)
    ]


def ordered(panel: Panel, found: Sequence[Line]) -> list[Line]:
    """Return the series in the order of the legend: the largest last value first, or as they were queried."""
    if panel.order == "query":
        return list(found)
    return sorted(found, key=lambda line: (-np.nan_to_num(line.last, nan=-np.inf), line.name))


def colour(panel: Panel, value: float) -> str:
    """Return the colour of the highest threshold that the value reaches; grey without a value."""
    steps = panel.steps or ((0.0, "blue"),)
    reached = [name for start, name in steps if value >= start]
    return COLOURS[reached[-1]] if reached else NO_DATA


def _stat(canvas: Canvas, panel: Panel, box: Box, found: Sequence[Line]) -> None:
    if not found:
        _absent(canvas, panel, box)
        return
    each = box.height / len(found)
    for place, line in enumerate(found):
        text = formatted(panel, line.last)
        size = min(24.0, box.width / max(4, len(text)) * 1.1, each * 0.45)
        middle, top = box.left + box.width / 2, box.top + each * (place + 0.5)
        if len(found) > 1 or panel.named:
            canvas.text(box.left, top, _cut(line.name, box.width * 0.85), va="center")
            canvas.text(box.left + box.width, top, text, min(size, 12), color=colour(panel, line.last), ha="right",
                        va="center")  # fmt: skip
        else:
            canvas.text(middle, top, text, size, color=colour(panel, line.last), ha="center", va="center")


def _absent(canvas: Canvas, panel: Panel, box: Box) -> None:
    middle = (box.left + box.width / 2, box.top + box.height / 2)
    canvas.text(*middle, panel.absent, 12, color=NO_DATA, ha="center", va="center")


def _table(canvas: Canvas, panel: Panel, box: Box, answers: Answers) -> None:
    curves = [curve for each in answers for curve in each]
    columns = panel.columns or tuple(sorted({name for curve in curves for name in curve.labels}))
    if not columns:
        _absent(canvas, panel, box)
        return
    rows = sorted(([curve.labels.get(name, "") for name in columns] for curve in curves), key=lambda row: row[::-1])
    letters = [max([len(name), *(len(row[at]) for row in rows)]) + 2 for at, name in enumerate(columns)]
    lefts = box.left + box.width * np.cumsum([0, *letters[:-1]]) / max(1, sum(letters))
    widths = box.width * np.array(letters) / max(1, sum(letters))
    fitting = int(box.height // ROW) - 1
    for number, row in enumerate([columns, *rows[:fitting]]):
        style = {"weight": "bold", "color": FAINT} if number == 0 else {}
        for left, width, cell in zip(lefts, widths, row, strict=True):
            canvas.text(float(left), box.top + number * ROW, _cut(cell, float(width)), 7, **style)


def _timeseries(
    canvas: Canvas, panel: Panel, box: Box, found: Sequence[Line], marks: Sequence[float], span: float
) -> None:
    beside = panel.width >= 12
    table = int(box.height // ROW) if beside else min(len(found), 4) + 1
    side = min(box.width * 0.4, 290)
    # A rate's axis names its unit.
    plot = box.inset(
        86 if panel.unit.startswith("suffix") else 52, 4, side + 12 if beside else 4, 18 if beside else 26 + table * ROW
    )
    axes = canvas.axes(plot)
    for line in found:
        axes.plot(line.times, line.values, color=line.colour, linewidth=1.1)
        axes.fill_between(line.times, 0, line.values, color=line.colour, alpha=0.1, linewidth=0)
    highest = max((line.maximum for line in found if not np.isnan(line.maximum)), default=0.0)
    axes.set_ylim(0, panel.maximum or (highest * 1.08 or 1))
    for start, name in panel.steps:
        if start > 0:
            axes.axhline(start, color=COLOURS[name], linestyle="--", linewidth=0.9)
    for mark in marks:
        axes.axvline(-mark, color=COLOURS["red"], linestyle=":", linewidth=1.0)
    _time_axis(axes, span)
    ticks = [float(tick) for tick in axes.get_yticks() if 0 <= tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks, [formatted(panel, tick) for tick in ticks], fontsize=6.5)
    if not found:
        axes.text(0.5, 0.5, panel.absent, transform=axes.transAxes, ha="center", color=NO_DATA, fontsize=11)
        return
    place = Box(box.left + box.width - side, box.top, side, box.height)
    _legend(canvas, panel, place if beside else box.inset(0, box.height - table * ROW, 0, 0), ordered(panel, found))


def _legend(canvas: Canvas, panel: Panel, box: Box, found: Sequence[Line]) -> None:
    right = box.left + box.width
    numbers = 98 if panel.unit.startswith("suffix") else 64  # pixels of a column
    for left, text in ((right - numbers, "Last"), (right, "Max")):
        canvas.text(left, box.top, text, 7, color=FAINT, ha="right")
    for number, line in enumerate(found[: int(box.height // ROW) - 1], 1):
        top = box.top + number * ROW
        canvas.rectangle(Box(box.left, top + 4, 10, 3), line.colour)
        canvas.text(box.left + 14, top, _cut(line.name, box.width - 2 * numbers - 18), 7)
        canvas.text(right - numbers, top, formatted(panel, line.last), 7, color=TEXT, ha="right")
        canvas.text(right, top, formatted(panel, line.maximum), 7, color=FAINT, ha="right")


def _heatmap(canvas: Canvas, panel: Panel, box: Box, found: Sequence[Line], span: float) -> None:
    axes = canvas.axes(box.inset(52, 4, 4, 18))
    buckets = sorted(found, key=lambda line: float(line.name))
    if buckets:
        counts = np.diff(np.nan_to_num(np.array([line.values for line in buckets])), axis=0, prepend=0)
        axes.pcolormesh(
            buckets[0].times, np.arange(len(buckets)), np.maximum(counts, 0), cmap="Oranges", shading="auto"
        )
        places = range(0, len(buckets), max(1, len(buckets) // 6))
        axes.set_yticks(list(places), [formatted(panel, float(buckets[at].name)) for at in places], fontsize=6.5)
    _time_axis(axes, span)


def _time_axis(axes: Axes, span: float) -> None:
    step = 60 if span <= 360 else 300
    ticks = [-float(second) for second in range(0, int(span) + 1, step)]
    names = ["now" if tick == 0 else f"{tick / 60:.0f} min" for tick in ticks]
    axes.set_xlim(-span, 0)
    axes.set_xticks(ticks, names, fontsize=6.5)


def _cut(text: str, width: float) -> str:
    letters = max(1, int(width / LETTER))
    return text if len(text) <= letters else text[: letters - 1] + "…"
