"""What a run shows: steps as they end, a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WIDEST = 100


class Step:
    def __init__(self) -> None:
        self.what = ""
        self.detail = ""

    def done(self, what: str, detail: str = "") -> None:
        self.what, self.detail = what, detail


class Screen:
    def __init__(self, name: str) -> None:
        self._name = name
        self._console = Console(highlight=False)
        self._errors = Console(highlight=False, stderr=True, soft_wrap=True)
        # Rich takes 80 columns where there is no terminal; a log has room for more.
        self.width = min(self._console.width, WIDEST) if self._console.is_terminal else WIDEST
        self._console.width = self.width
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace", line_buffering=True)  # pyright: ignore

    @contextmanager
    def step(self, doing: str) -> Iterator[Step]:
        """Shows what is being done, and what it said with `done` when it has ended well."""
        began = time.monotonic()
        step = Step()
        if self._console.is_terminal:
            waiting = self._console.status(f"{doing} …", spinner="line")
        else:
            self._console.print(Text(f"{doing} …"))
            waiting = nullcontext()
        with waiting:
            yield step
        shown = Text.assemble("  ", (step.what, "bold"), f"  {step.detail}" if step.detail else "", no_wrap=False)
        shown.append(f"  {time.monotonic() - began:.1f} s", "dim")
        self._console.print(shown)

    def title(self, text: str) -> None:
        self._console.print(Text(text, "bold"))

    def heading(self, text: str, explained: str = "") -> None:
        self._console.print()
        self._console.print(Text.assemble((text, "bold cyan"), (f"  {explained}" if explained else "", "dim")))

    def rows(self, rows: Iterable[Sequence[str | Text]]) -> None:
        """Aligned; the last column wraps."""
        grid = Table.grid(padding=(0, 2))
        for cells in rows:
            grid.add_row("", *(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
        self._console.print(grid)

    def verbatim(self, line: str) -> None:
        """One line whatever its length, to be copied."""
        self._console.print(Text(f"  {line}"), soft_wrap=True)

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def warn(self, text: str) -> None:
        self._errors.print(Text(f"{self._name}: {text}"))

    def failed(self, error: BaseException) -> None:
        self._errors.print(Text(f"{self._name}: {error or type(error).__name__}", "bold red"))
        for note in getattr(error, "__notes__", []):
            self._errors.print(Text(f"\n{note}"))
