"""Random choice of the next operation by share."""

from __future__ import annotations

import random

from memq_schemas import Operation

OPERATIONS = (
    Operation.UPSERT,
    Operation.QUERY,
    Operation.GET,
    Operation.COUNT,
    Operation.PAYLOAD,
    Operation.DELETE,
)
DEFAULT = "upsert=40,query=35,get=10,count=5,payload=6,delete=4"


class Mix:
    """`upsert=40,query=60`: parts of a whole that need not be 100. Raises ValueError naming what is wrong."""

    def __init__(self, text: str = DEFAULT, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self.parts: dict[Operation, float] = {}
        for part in text.split(","):
            name, _, share = part.strip().partition("=")
            try:
                self.parts[_operation(name)] = _share(share)
            except ValueError as error:
                raise ValueError(f"{part.strip()!r}: {error}") from None
        if not sum(self.parts.values()):
            raise ValueError("all parts are 0")

    def next(self) -> Operation:
        (operation,) = self._random.choices(list(self.parts), list(self.parts.values()))
        return operation

    def happens(self, share: float) -> bool:
        return self._random.random() < share


def _operation(name: str) -> Operation:
    if name not in set(OPERATIONS):
        raise ValueError(f"expected one of {', '.join(OPERATIONS)}")
    return Operation(name)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise ValueError("expected OPERATION=NUMBER") from None
    if not 0 <= share < float("inf"):
        raise ValueError("expected a number of 0 or more")
    return share
