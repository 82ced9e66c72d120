from __future__ import annotations

from typing import TYPE_CHECKING

from memq_cli.bar import Bar
from memq_cli.output import notice

if TYPE_CHECKING:
    from memq.dead import Tally


class WalkProgress(Bar):
    """Progress of a walk through the dead letters."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self._doing = doing

    def __call__(self, tally: Tally) -> None:
        if tally.walked == 1 and tally.delivery_limit.unknown:
            notice(f"memq: policies of the queue unknown ({tally.delivery_limit.unknown}): a policy may drop letters")
        summary = f"{tally.selected:,} selected" + (f", {tally.done:,} done" if tally.done else "")
        line = f"{self._doing}: {tally.walked:,} of {tally.depth:,}, {summary}"
        self.advance(tally.walked, tally.depth, summary, line)
