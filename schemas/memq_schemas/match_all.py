"""Filters that select every point of a collection, for any content."""

from dataclasses import dataclass
from typing import Any

from memq_schemas.conditions import FieldCondition, MatchAny, MatchPhrase, MatchText, MatchTextAny
from memq_schemas.filters import Filter, HasId, Nested
from memq_schemas.model import listed


@dataclass(frozen=True, slots=True)
class Truth:
    """The values that a condition can take on some point, as far as its own form tells."""

    can_be_true: bool
    can_be_false: bool


_UNKNOWN = Truth(can_be_true=True, can_be_false=True)
_NEVER = Truth(can_be_true=False, can_be_false=True)
_ALWAYS = Truth(can_be_true=True, can_be_false=False)


def selects_all(condition: Filter) -> bool:
    """Return True if the filter holds for every value of the conditions that depend on what is stored.

    Constants count by their value: `has_id` and `any` without values hold for no point, nor do blank texts as soon as
    the key has a text index; groups without conditions hold for every point. All other conditions are unknown and
    independent: conditions that exclude each other, such as `a or not a`, are not recognised. The time is linear in the
    number of conditions.

    Stores disagree about `min_should` without conditions: Qdrant selects every point, the embedded engine none. A
    filter that selects everything in either of the two counts.
    """
    return any(not _filter(condition, empty).can_be_false for empty in (_ALWAYS, _NEVER))


def _filter(condition: Filter, empty_min_should: Truth) -> Truth:
    def truths(group: Any) -> list[Truth]:
        return [_truth(each, empty_min_should) for each in listed(group)]

    parts = truths(condition.must)
    parts += [Truth(each.can_be_false, each.can_be_true) for each in truths(condition.must_not)]
    should = truths(condition.should)
    if should:
        parts.append(_at_least(1, should))
    some = condition.min_should
    if some is not None:
        parts.append(_at_least(some.min_count, truths(some.conditions)) if some.conditions else empty_min_should)
    return Truth(all(each.can_be_true for each in parts), any(each.can_be_false for each in parts))


def _at_least(count: int, members: list[Truth]) -> Truth:
    possible = sum(each.can_be_true for each in members)
    certain = sum(not each.can_be_false for each in members)
    return Truth(possible >= count, certain < count)


def _truth(condition: Any, empty_min_should: Truth) -> Truth:
    match condition:
        case Filter():
            return _filter(condition, empty_min_should)
        case Nested():
            # On a point without such an array it is false, whatever the filter.
            inner = _filter(condition.nested.filter, empty_min_should)
            return _UNKNOWN if inner.can_be_true else _NEVER
        case HasId():
            return _UNKNOWN if condition.has_id else _NEVER
        case FieldCondition(match=MatchAny() as test):
            return _UNKNOWN if test.any else _NEVER
        case FieldCondition(match=MatchText(text=words) | MatchTextAny(text_any=words) | MatchPhrase(phrase=words)):
            return _NEVER if not words or words.isspace() else _UNKNOWN
        case _:
            return _UNKNOWN
