"""Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable


class Answering(Protocol):
    """Form of a command's answer."""

    @property
    def json(self) -> bool: ...


notices = Console(stderr=True, highlight=False, soft_wrap=True)


def notice(text: str) -> None:
    notices.print(text, markup=False)


def emit(value: Any) -> None:
    """One JSON document and a line end."""
    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def result(target: Answering, answer: Any, text: str) -> None:
    """Print an answer: with --json as a document, otherwise as `text`."""
    if target.json:
        emit(answer)
    else:
        say(text)


def listing(target: Answering, answer: Any, headings: list[str], rows: Iterable[list[str]]) -> None:
    """Print an answer: with --json as a document, otherwise as a table of `rows`."""
    if target.json:
        emit(answer)
    else:
        table(headings, list(rows))


async def confirmed(question: str) -> bool:
    """Asks on the terminal. In the event loop, not in a thread: an interrupt has to end it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    notices.print(f"{question} [y/N] ", markup=False, end="")
    loop.add_reader(sys.stdin, lambda: answer.done() or answer.set_result(sys.stdin.readline()))
    try:
        return (await answer).strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(sys.stdin)


def table(headings: list[str], rows: list[list[str]]) -> None:
    """Print a table: aligned and cut to a terminal's width; in a pipe whole, tab-separated, without headings."""
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


def printable(text: str) -> str:
    """Senders choose it: nothing in it moves the cursor or breaks the line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def compact(value: Any) -> str:
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError
