"""The list of broken workers, filled by the modules that define them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Mutant:
    """experiment: the one that has to catch it.   kinds: what the checker may call it (tests.chaos.checker)."""

    apply: Callable[[], None]
    experiment: str
    kinds: frozenset[str]


MUTANTS: dict[str, Mutant] = {}


def mutant(experiment: str, *kinds: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(apply: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[apply.__name__.replace("_", " ")] = Mutant(apply, experiment, frozenset(kinds))
        return apply

    return add


def untyped(of: Any) -> Any:
    """The patches reach into private parts on purpose, and none of them is typed: a defect has no contract."""
    return of
