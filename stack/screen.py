"""Output of a run: steps as they end, a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDEST = 100


class _Output(Console):
    def on_broken_pipe(self) -> None:
        # Rich would raise SystemExit, which asyncio lets through in the middle of everything.
        raise BrokenPipeError


class Step:
    def __init__(self) -> None:
        self.what = ""
        self.detail = ""

    def done(self, what: str, detail: str = "") -> None:
        self.what, self.detail = what, detail


class Screen:
    def __init__(self, name: str) -> None:
        self._name = name
        self._console = _Output(highlight=False)
        self._errors = _Output(highlight=False, stderr=True, soft_wrap=True)
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

    def rows(self, rows: Sequence[Sequence[str | Text]]) -> None:
        """Aligned; the last column wraps."""
        cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]) - 1)]
        for row in cells:
            start = Text("  ")
            for cell, width in zip(row, widths, strict=False):
                start.append_text(cell).append(" " * (width - len(cell) + 2))
            for line in row[-1].wrap(self._console, self.width - len(start)):
                line.rstrip()
                self._console.print(start + line)
                start = Text(" " * len(start))

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
