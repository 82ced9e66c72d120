from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memq_cli.output import notice, notices

if TYPE_CHECKING:
    from types import TracebackType

LINE_SECONDS = 5.0


class Bar:
    """Progress of long work: a bar on a terminal, elsewhere a line every five seconds. Nothing unless `shown`."""

    def __init__(self, doing: str, *, done: int = 0, total: int | None = None, shown: bool = True) -> None:
        self._shown = shown
        self._printed_at = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[beside]}"),
            TimeRemainingColumn(),
            console=notices,
            transient=True,
            disable=not (shown and notices.is_terminal),
        )
        self._task = self._bar.add_task(doing, total=total, completed=done, beside="")

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        # A disabled one still ends with an empty line, before rich 14.3.
        if not self._bar.disable:
            self._bar.stop()

    def advance(self, done: int, total: int | None, beside: str, line: str) -> None:
        """Show how far the work is. beside: a few words beside the bar.   line: the same where there is no terminal."""
        if notices.is_terminal:
            self._bar.update(self._task, completed=done, total=total, beside=beside)
            return
        now = time.monotonic()
        if self._shown and now - self._printed_at >= LINE_SECONDS:
            self._printed_at = now
            notice(f"memq: {line}")
