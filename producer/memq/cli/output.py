"""Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

notices = Console(stderr=True, highlight=False, soft_wrap=True)


def notice(text: str) -> None:
    notices.print(text, markup=False)


def emit(value: Any) -> None:
    """One JSON document and a line end."""
    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def table(headings: list[str], rows: list[list[str]]) -> None:
    """On a terminal aligned and cut to its width; in a pipe whole, with tabs between and no headings."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in rows:
            say("\t".join(row))
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console.print(grid)


def compact(value: Any) -> str:
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError
