"""Selection of dead letters, and its text form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from memq.dead.letter import DeadLetter

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?[smhdw])+", re.ASCII)
_PART = re.compile(r"([\d.]+)([smhdw])", re.ASCII)
_ATTEMPTS = re.compile(r"(\d{1,9})(?:(\+)|-(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Range of attempts from `least` to `most`, both included; without an upper end if `most` is None."""

    least: int
    most: int | None = None

    def __contains__(self, number: int) -> bool:
        return self.least <= number and (self.most is None or number <= self.most)


@dataclass(frozen=True, slots=True)
class Selection:
    """Every field that is given has to fit; one of its values is enough. An empty selection means all.

    ids: message ids or correlation ids.   older_than, newer_than: since the last failure; a letter without a known
    time is neither.   limit: the first so many that fit, from the front of the queue.
    """

    codes: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    collections: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    attempts: Attempts | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    limit: int | None = None

    def takes(self, letter: DeadLetter, now: datetime) -> bool:
        return (
            (not self.codes or letter.code in self.codes)
            and (not self.operations or letter.operation in self.operations)
            and (not self.collections or letter.collection in self.collections)
            and (not self.queues or letter.queue in self.queues)
            and (not self.ids or letter.message_id in self.ids or letter.correlation_id in self.ids)
            and (not self.tenants or letter.tenant in self.tenants)
            and (self.attempts is None or letter.attempts in self.attempts)
            and self._aged(letter.age(now))
        )

    def _aged(self, seconds: float | None) -> bool:
        if self.older_than is None and self.newer_than is None:
            return True
        if seconds is None:
            return False
        if self.older_than is not None and seconds < self.older_than.total_seconds():
            return False
        return self.newer_than is None or seconds <= self.newer_than.total_seconds()


def duration(text: str) -> timedelta:
    """ "90s", "15m", "2h", "1d12h", "1w". Raises ValueError saying so."""
    if not _DURATION.fullmatch(text.strip()):
        raise ValueError("expected a duration like 90s, 15m, 2h, 1d12h or 1w")
    try:
        return sum(
            (timedelta(**{_UNITS[unit]: float(number)}) for number, unit in _PART.findall(text)), start=timedelta()
        )
    except OverflowError:
        raise ValueError("exceeds the maximum") from None


def attempts(text: str) -> Attempts:
    """ "3", "3+" or "2-5". Raises ValueError saying so."""
    found = _ATTEMPTS.fullmatch(text.strip())
    if found is None:
        raise ValueError("expected a number of attempts like 3, 3+ or 2-5")
    least = int(found[1])
    if found[2]:
        return Attempts(least)
    most = int(found[3]) if found[3] else least
    if most < least:
        raise ValueError(f"{least}-{most} is empty: the smaller number comes first")
    return Attempts(least, most)
