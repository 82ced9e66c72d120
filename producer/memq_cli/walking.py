from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memq_cli.output import notice, notices
from memq_cli.progress import LINE_SECONDS

if TYPE_CHECKING:
    from types import TracebackType

    from memq.dead import Tally


class WalkProgress:
    """Progress of a walk through the dead letters: a bar on a terminal, elsewhere a line every few seconds."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[selected]}"),
            TimeRemainingColumn(),
            console=notices,
            transient=True,
            disable=not notices.is_terminal,
        )
        self._task = self._bar.add_task(doing, total=None, selected="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stop(self) -> None:
        self._bar.stop()

    def __call__(self, tally: Tally) -> None:
        if tally.walked == 1 and tally.looks.unknown:
            notice(f"memq: policies of the queue unknown ({tally.looks.unknown}): one could drop letters")
        told = f"{tally.selected:,} selected" + (f", {tally.done:,} done" if tally.done else "")
        if notices.is_terminal:
            self._bar.update(self._task, completed=tally.walked, total=tally.depth, selected=told)
            return
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            notice(f"memq: {self._doing}: {tally.walked:,} of {tally.depth:,}, {told}")
