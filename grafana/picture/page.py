"""A whole page: open rows with their panels, closed rows as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.dashboard import COLUMNS, laid_out
from grafana.picture.canvas import FAINT, Box, Canvas
from grafana.picture.panels import draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from grafana.dashboard import Dashboard
    from grafana.panel import Panel
    from grafana.picture.panels import Answers

WIDTH = 1440
MARGIN = 8
UNIT = 30  # pixels of a line of the grid
HEAD = 34


def write(
    path: Path, board: Dashboard, moment: str, answers: Mapping[str, Answers], marks: Sequence[float], span: float
) -> None:
    """Draw the page of a dashboard into a PNG.

    moment: what is happening, for the title.   answers: series of each query, by title of the panel.
    """
    placed, titles, height = _layout(board)
    canvas = Canvas(WIDTH, HEAD + height * UNIT + MARGIN)
    canvas.text(MARGIN + 4, 9, f"{board.title}: {moment}", 11, weight="bold")
    column = (WIDTH - 2 * MARGIN) / COLUMNS
    for title, line in titles:
        canvas.text(MARGIN + 4, HEAD + line * UNIT + 8, title, 9, weight="bold", color=FAINT)
    for panel, x, y in placed:
        box = Box(MARGIN + x * column, HEAD + y * UNIT, panel.width * column, panel.height * UNIT)
        draw(canvas, panel, box.inset(2, 2, 2, 2), answers[panel.title], marks, span)
    canvas.save(path)


def _layout(board: Dashboard) -> tuple[list[tuple[Panel, int, int]], list[tuple[str, int]], int]:
    """Return the panels of open rows with column and line, the titles of all rows with their line, and the lines."""
    placed: list[tuple[Panel, int, int]] = []
    titles: list[tuple[str, int]] = []
    y = 0
    for row in board.rows:
        titles.append((f"▸ {row.title} ({len(row.panels)} panels)" if row.collapsed else f"▾ {row.title}", y))
        y += 1
        if not row.collapsed:
            found, y = laid_out(row.panels, y)
            placed += found
    return placed, titles, y
