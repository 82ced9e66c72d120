from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memq.answers import Receipt
from memq_cli.output import notice, notices

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from memq_cli.sources import Source

LINE_SECONDS = 5.0


class UploadProgress:
    """A bar on a terminal; elsewhere a line every few seconds. Keeps the last receipt for what comes after.

    start: points of the source that an earlier run has sent.   note: is told how many of the source's first points are
    delivered.
    """

    def __init__(self, source: Source, start: int, wait: bool, note: Callable[[int], None]) -> None:
        self.receipt = Receipt(0, 0)
        self.start = start
        self._source = source
        self._how = "applied" if wait else "confirmed"
        self._note = note
        self._started = self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=notices,
            transient=True,
            disable=not notices.is_terminal,
        )
        self._task = self._bar.add_task("points", total=source.total, completed=start, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self._note(self.start + (receipt.complete or 0))
        points = receipt.points or 0
        rate = points / max(self.seconds, 1e-9)
        done, total = self.start + points, self._source.total
        if notices.is_terminal:
            self._bar.update(self._task, completed=done, total=total, rate=f"{rate:,.0f}/s")
            return
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            of = f" of {total:,}" if total else ""
            left = f", {_duration((total - done) / rate)} left" if total and rate else ""
            notice(f"memq: {done:,}{of} points {self._how}, {rate:,.0f} per second{left}")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
