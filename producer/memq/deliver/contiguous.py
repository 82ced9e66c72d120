from __future__ import annotations


class Contiguous:
    """Ranges that are done in any order: `end` is how far they are without a gap, from 0."""

    def __init__(self) -> None:
        self.end = 0
        self._later: dict[int, int] = {}

    def add(self, done: range) -> None:
        if not done:
            return
        self._later[done.start] = done.stop
        while (stop := self._later.pop(self.end, None)) is not None:
            self.end = stop
