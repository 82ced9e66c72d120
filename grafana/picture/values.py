"""Values as text, in the unit of their panel."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana.panel import Panel

_SIZES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_TIMES = ((86400, "days"), (3600, "hours"), (60, "min"), (1, "s"), (0.001, "ms"), (0.000001, "µs"))
_LABEL = re.compile(r"\{\{(\w+)\}\}")


def formatted(panel: Panel, value: float) -> str:
    """Return a value with its unit, or the panel's word for it."""
    if math.isnan(value):
        return panel.absent
    if panel.words:
        return dict(panel.words).get(round(value), _digits(value))
    match panel.unit:
        case "s":
            return _scaled(value, _TIMES, "s")
        case "bytes":
            return _scaled(value, _SIZES, "B")
        case "percentunit":
            return f"{_digits(value * 100, panel.decimals)} %"
        case unit:
            return f"{_digits(value, panel.decimals)} {unit.removeprefix('suffix:')}".removesuffix(" none")


def legend(template: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series, with its labels in place of `{{label}}`."""
    return _LABEL.sub(lambda found: labels.get(found[1], ""), template)


def _scaled(value: float, units: tuple[tuple[float, str], ...], plain: str) -> str:
    size, name = next(((size, name) for size, name in units if abs(value) >= size), (1, plain))
    text = f"{_digits(value / size)} {name}"
    return text.removesuffix("s") if text in ("1 days", "1 hours") else text


def _digits(value: float, decimals: int | None = None) -> str:
    """Return three significant digits, or as many decimals as the panel asks for, without zeros at the end."""
    if decimals is None:
        decimals = 0 if value == 0 else max(0, min(3, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
