from __future__ import annotations

import time

from memq_cli.bar import Bar


class ExportProgress(Bar):
    """Progress of an export. Nothing unless `shown`."""

    def __init__(self, shown: bool) -> None:
        super().__init__("points", shown=shown)
        self.shown = shown
        self._started = time.monotonic()
        self._first = self._total = 0

    def begin(self, done: int, total: int) -> None:
        """`done` points were written by an earlier run, of about `total`."""
        self._first, self._total = done, total
        self._bar.update(self._task, completed=done, total=total)

    def __call__(self, done: int) -> None:
        rate = (done - self._first) / max(time.monotonic() - self._started, 1e-9)
        line = f"{done:,} of about {self._total:,} points written, {rate:,.0f} per second"
        self.advance(done, max(done, self._total), f"{rate:,.0f}/s", line)
