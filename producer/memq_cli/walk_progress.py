from __future__ import annotations

from typing import TYPE_CHECKING

from memq_cli.bar import Bar
from memq_cli.output import notice

if TYPE_CHECKING:
    from memq.dead import Tally
    from memq.dead.delivery_limit import DeliveryLimit


class WalkProgress(Bar):
    """Progress of a walk through the dead letters."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self._doing = doing
        self._warned = False

    def __call__(self, tally: Tally) -> None:
        if not self._warned:
            self._warned = True
            self._warn(tally.delivery_limit)
        summary = f"{tally.selected:,} selected" + (f", {tally.done:,} done" if tally.done else "")
        line = f"{self._doing}: {tally.walked:,} of {tally.depth:,}, {summary}"
        self.advance(tally.walked, tally.depth, summary, line)

    def _warn(self, limit: DeliveryLimit) -> None:
        if limit.unknown:
            notice(f"memq: policies of the queue unknown ({limit.unknown}): a policy may drop letters")
        if limit.losses:
            notice(f"memq: messages can be lost: {limit.losses}")
