"""The figures of a run, as the table shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos import checker

if TYPE_CHECKING:
    from tests.chaos.checker import Violation

_DUPLICATED = {checker.STALE, checker.TORN, checker.REPEATED, checker.ANSWERED_TWICE}


@dataclass(frozen=True, slots=True)
class Figures:
    experiment: str
    seed: int
    messages: int  # confirmed
    replies: int
    dead: int
    faults: dict[str, int]
    seconds: float
    broker: str
    mutant: str | None = None
    violations: list[Violation] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)

    def _count(self, kinds: set[str]) -> int:
        return sum(1 for violation in self.violations if violation.kind in kinds)

    @property
    def lost(self) -> int:
        return self._count({checker.LOST})

    @property
    def duplicated(self) -> int:
        """In effect: what a second or late delivery has changed. Second deliveries as such are the broker's promise."""
        return self._count(_DUPLICATED)

    @property
    def let_through(self) -> int:
        return self._count({checker.LET_THROUGH, checker.STRANGE, checker.LEAKED})

    @property
    def other(self) -> int:
        return len(self.violations) - self.lost - self.duplicated - self.let_through

    @property
    def bound(self) -> float | None:
        """Upper limit of the rate of losses at 95 % confidence after none in this many messages (rule of three)."""
        return 3 / self.messages if self.messages and not self.lost else None

    @property
    def injected(self) -> str:
        return ", ".join(f"{number:,} {what}" for what, number in self.faults.items()) or "nothing"

    def summary(self) -> str:
        bound = f" (< {self.bound:.1g} at 95 %)" if self.bound is not None else ""
        lines = [
            f"{self.experiment}: seed {self.seed}, RabbitMQ {self.broker}, {self.seconds:.0f} s"
            + (f", mutant {self.mutant}" if self.mutant else ""),
            f"  injected: {self.injected}",
            f"  messages {self.messages:,}, replies {self.replies:,}, dead letters {self.dead:,}",
            f"  lost {self.lost}{bound}, duplicated in effect {self.duplicated}, let through {self.let_through}, "
            f"other violations {self.other}",
        ]
        if self.notes:
            lines.append("  " + ", ".join(f"{name} {value:,.10g}" for name, value in self.notes.items()))
        shown = Counter((violation.check, violation.kind) for violation in self.violations)
        lines += [f"  {name} {kind}: {number}" for (name, kind), number in sorted(shown.items())]
        lines += [f"    {violation.what}" for violation in self.violations[:8]]
        return "\n".join(lines)
