"""The table of docs/explanation/guarantees.md: one row an experiment, replaced by each run that writes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.figures import Figures

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.catalogue import Experiment
    from tests.chaos.scene import Plan

BEGIN, END = "<!-- chaos -->", "<!-- /chaos -->"
HEADER = (
    "| experiment | injected | messages | lost | duplicated in effect | let through | RabbitMQ | seed | command |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    text: str


def row(experiment: Experiment, plan: Plan, figures: Figures) -> Row:
    command = ["scripts/chaos", experiment.name, "--seed", str(plan.seed)]
    for name in ("messages", "kills", "seconds"):
        if getattr(plan, name) != getattr(experiment.long, name):
            command += [f"--{name}", f"{getattr(plan, name):g}"]
    bound = f" (< {figures.bound:.1g})" if figures.bound is not None else ""
    cells = (
        experiment.name,
        figures.injected,
        f"{figures.messages:,}",
        f"{figures.lost}{bound}",
        str(figures.duplicated),
        str(figures.let_through),
        figures.broker,
        str(plan.seed),
        f"`{shlex.join(command)}`",
    )
    return Row(experiment.name, "| " + " | ".join(cells) + " |")


def markdown(rows: list[Row]) -> str:
    return HEADER + "\n".join(each.text for each in rows) + "\n"


def update(document: Path, rows: list[Row], order: list[str]) -> None:
    """Rows of other experiments stay as they are. Raises ValueError when the markers are not there."""
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no {BEGIN} … {END}")
    kept = {match[1]: match[0] for match in re.finditer(r"^\| ([a-z0-9 ]+) \|.*\|$", old, re.MULTILINE)}
    kept.pop("experiment", None)
    kept |= {each.name: each.text for each in rows}
    ordered = [Row(name, kept[name]) for name in order if name in kept]
    document.write_text(f"{before}{BEGIN}\n{markdown(ordered)}{END}{after}")


__all__ = ["Figures", "Row", "markdown", "row", "update"]
