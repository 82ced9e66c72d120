from __future__ import annotations

import time
from typing import TYPE_CHECKING

from memq.answers import Receipt
from memq_cli.bar import Bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq_cli.sources import Source


class UploadProgress(Bar):
    """Progress of an upload. Keeps the last receipt for what comes after.

    start: points of the source that an earlier run has sent.   note: is called with the number of the source's first
    points that are delivered.
    """

    def __init__(self, source: Source, start: int, wait: bool, note: Callable[[int], None]) -> None:
        super().__init__("points", done=start, total=source.total)
        self.receipt = Receipt(0, 0)
        self.start = start
        self._source = source
        self._how = "applied" if wait else "confirmed"
        self._note = note
        self._started = time.monotonic()

    def __call__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self._note(self.start + (receipt.complete or 0))
        points = receipt.points or 0
        rate = points / max(self.seconds, 1e-9)
        done, total = self.start + points, self._source.total
        of = f" of {total:,}" if total else ""
        left = f", {_duration((total - done) / rate)} left" if total and rate else ""
        line = f"{done:,}{of} points {self._how}, {rate:,.0f} per second{left}"
        self.advance(done, total, f"{rate:,.0f}/s", line)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
