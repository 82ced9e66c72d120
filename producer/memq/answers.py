"""Results of calls. Every answer carries `elapsed_ms`: milliseconds from the worker's receipt to its reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memq_schemas import CollectionDescription, FacetValue, OrderedRecord, Record, ScoredPoint, TenantLimit


@dataclass(frozen=True, slots=True)
class Receipt:
    """Receipt of a write.

    points: how many the call named; None where a filter selects them.   messages: how many carried them.
    applied: true when the worker has said so (`wait=True`); otherwise the broker has them safe.
    elapsed_ms: the slowest message's time at the worker; None without `wait=True`.
    stored: true when they are in the producer's outbox, on its own disk; the broker gets them as soon as it can.
    complete: so many of the first points of the call are all delivered, whatever became of later ones. A call that
    begins after them goes on where this one was interrupted. None where a filter selects the points.
    """

    points: int | None
    messages: int
    applied: bool = False
    elapsed_ms: float | None = None
    stored: bool = False
    complete: int | None = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """Best first. Iterating it iterates the points."""

    points: list[ScoredPoint]
    elapsed_ms: float

    def __iter__(self) -> Iterator[ScoredPoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True)
class GetAnswer:
    """The points that exist. Iterating it iterates them."""

    points: list[Record]
    elapsed_ms: float

    def __iter__(self) -> Iterator[Record]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True)
class CountAnswer:
    count: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """A page of points. `next` is the `offset` of the next page, None at the end. Iterating it iterates the points."""

    points: list[OrderedRecord]
    next: int | str | None
    elapsed_ms: float

    def __iter__(self) -> Iterator[OrderedRecord]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True)
class FacetAnswer:
    """Most frequent first. Iterating it iterates the values."""

    values: list[FacetValue]
    elapsed_ms: float

    def __iter__(self) -> Iterator[FacetValue]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """accepted: the store has the request; `collections.describe` shows how far it is."""

    accepted: bool
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class AliasAnswer:
    """changed: whether the aliases are others than before.   before: the collection that the alias belonged to."""

    changed: bool
    before: str | None
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class AliasesAnswer:
    """Collection names by alias."""

    aliases: dict[str, str]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class LimitsAnswer:
    """Limits of the producer's tenant; none for the operator. Iterating it iterates them."""

    limits: list[TenantLimit]
    elapsed_ms: float

    def __iter__(self) -> Iterator[TenantLimit]:
        return iter(self.limits)

    def __len__(self) -> int:
        return len(self.limits)


@dataclass(frozen=True, slots=True)
class ListAnswer:
    names: list[str]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class DescribeAnswer:
    collection: CollectionDescription
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class CreateAnswer:
    """created: false when it was there already, with everything asked for, and `exist_ok` was given."""

    created: bool
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """updated: the store has the options; an index may still be building."""

    updated: bool
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """deleted: false when there was no such collection."""

    deleted: bool
    elapsed_ms: float
