"""Number of users at each moment of a run."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from memq.dead import duration

MOST_USERS = 10_000

_USERS = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stage:
    """The number of users goes in a straight line from that of the stage before to `users`."""

    seconds: float
    users: int


def parse_stages(text: str) -> tuple[Stage, ...]:
    """`30s:10,1m:50`. Raises ValueError naming the part that cannot be read."""
    stages: list[Stage] = []
    for part in text.split(","):
        time, _, users = part.strip().rpartition(":")
        try:
            seconds = duration(time).total_seconds()
        except ValueError:
            seconds = None
        if seconds is None or not _USERS.fullmatch(users):
            raise ValueError(f"{part.strip()!r} is not DURATION:USERS, like 30s:10 or 1m:50")
        stage = Stage(seconds, int(users))
        if stage.users > MOST_USERS:
            raise ValueError(f"{part.strip()!r}: at most {MOST_USERS} users")
        stages.append(stage)
    if not total_seconds(stages):
        raise ValueError("the stages have no duration")
    return tuple(stages)


def total_seconds(stages: tuple[Stage, ...] | list[Stage]) -> float:
    return sum(stage.seconds for stage in stages)


def users_at(stages: tuple[Stage, ...], seconds: float) -> int:
    """0 after the last stage. The first one starts with as many users as it ends with."""
    begin = 0.0
    for before, stage in itertools.pairwise((stages[0], *stages)):
        if seconds < begin + stage.seconds:
            share = (seconds - begin) / stage.seconds
            return round(before.users + (stage.users - before.users) * share)
        begin += stage.seconds
    return 0
