from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memq.answers import Receipt
from memq.cli.output import notice, notices

if TYPE_CHECKING:
    from types import TracebackType

    from memq.sources import Source

LINE_SECONDS = 5.0


class UploadProgress:
    """A bar on a terminal; elsewhere a line every few seconds. Keeps the last receipt for what comes after."""

    def __init__(self, source: Source) -> None:
        self.receipt = Receipt(0, 0)
        self._source = source
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
        self._task = self._bar.add_task("points", total=source.total, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        points = receipt.points or 0
        rate = points / max(self.seconds, 1e-9)
        total = self._source.total
        if notices.is_terminal:
            self._bar.update(self._task, completed=points, total=total, rate=f"{rate:,.0f}/s")
            return
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            left = f", {(total - points) / rate:,.0f} s left" if total and rate else ""
            notice(f"memq: {points:,} points confirmed, {rate:,.0f} per second{left}")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started
