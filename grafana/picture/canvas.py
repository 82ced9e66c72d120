"""A figure that is drawn on in pixels from its top left corner."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

DOTS_PER_INCH = 100
COLOURS = 96  # of the palette of a file, which halves its size
TEXT, FAINT, LINE, PAPER = "#24292e", "#6e7781", "#d8dadd", "#f4f5f5"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels. `top` grows downwards."""

    left: float
    top: float
    width: float
    height: float

    def inset(self, left: float, top: float, right: float, bottom: float) -> Box:
        return Box(self.left + left, self.top + top, self.width - left - right, self.height - top - bottom)


class Canvas:
    def __init__(self, width: float, height: float) -> None:
        self._width = width
        self._height = height
        self._figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
        self._figure.patch.set_facecolor(PAPER)

    def text(self, left: float, top: float, text: str, size: float = 8, **style: Any) -> None:
        """Write one line whose left end and top are at the given place. `$` has no special meaning."""
        style = {"color": TEXT, "va": "top", "ha": "left", "parse_math": False, **style}
        self._figure.text(left / self._width, 1 - top / self._height, text, fontsize=size, **style)

    def rectangle(self, box: Box, colour: str, edge: str = "none") -> None:
        """Fill a rectangle."""
        corner = (box.left / self._width, 1 - (box.top + box.height) / self._height)
        size = (box.width / self._width, box.height / self._height)
        self._figure.add_artist(Rectangle(corner, *size, facecolor=colour, edgecolor=edge, linewidth=0.8, zorder=-1))

    def axes(self, box: Box) -> Axes:
        """Return axes that fill the box; their labels stand outside it."""
        left, low = box.left / self._width, 1 - (box.top + box.height) / self._height
        axes = self._figure.add_axes((left, low, box.width / self._width, box.height / self._height))
        axes.tick_params(labelsize=7, colors=FAINT, length=0)
        axes.grid(visible=True, color=LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
        return axes

    def save(self, path: Path) -> None:
        """Write a PNG with a palette."""
        drawn = io.BytesIO()
        with mpl.rc_context({"font.family": "DejaVu Sans"}):
            self._figure.savefig(drawn, format="png", metadata={"Software": None})
        with Image.open(drawn) as image:
            image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
