from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memq_cli.output import notice, notices
from memq_cli.progress import LINE_SECONDS

if TYPE_CHECKING:
    from types import TracebackType


class ExportProgress:
    """Progress of an export: a bar on a terminal, elsewhere a line every few seconds. Nothing unless `shown`."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._started = self._told = time.monotonic()
        self._first = self._total = 0
        self._bar = Progress(
            TextColumn("points"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=notices,
            transient=True,
            disable=not (shown and notices.is_terminal),
        )
        self._task = self._bar.add_task("points", total=None, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, done: int, total: int) -> None:
        """`done` points were written by an earlier run, of about `total`."""
        self._first, self._total = done, total
        self._bar.update(self._task, completed=done, total=total)

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        rate = (done - self._first) / max(now - self._started, 1e-9)
        if notices.is_terminal:
            total = max(done, self._total)
            self._bar.update(self._task, completed=done, total=total, rate=f"{rate:,.0f}/s")
        elif self.shown and now - self._told >= LINE_SECONDS:
            self._told = now
            notice(f"memq: {done:,} of about {self._total:,} points written, {rate:,.0f} per second")
