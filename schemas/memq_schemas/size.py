"""The size of a filter, counted before anything else is done with it."""

from typing import Any, cast

from pydantic import BaseModel

from memq_schemas.limits import MAX_CONDITIONS, MAX_FILTER_DEPTH, MAX_FILTER_VALUES

_GROUPS = ("must", "should", "must_not")


def check_size(whole: Any) -> None:
    """Raise ValueError for a filter of too many levels, conditions or values.

    `whole` is a filter as JSON or as a model. What is no filter at all is left to the models.
    """
    conditions = values = 0
    level, depth = [whole], 0
    while level:
        depth += 1
        if depth > MAX_FILTER_DEPTH:
            raise ValueError(f"filters nested more than {MAX_FILTER_DEPTH} levels deep")
        deeper: list[Any] = []
        for each in level:
            for condition in _conditions(each):
                conditions += 1
                if conditions > MAX_CONDITIONS:
                    raise ValueError(f"expected at most {MAX_CONDITIONS} conditions in a filter, at all its levels")
                values += _values(condition)
                if values > MAX_FILTER_VALUES:
                    raise ValueError(
                        f"expected at most {MAX_FILTER_VALUES} values in has_id, any and except of a filter, together"
                    )
                inner = _inner(condition)
                if inner is not None:
                    deeper.append(inner)
        level = deeper


def null_condition(whole: Any) -> bool:
    """Return True if a condition in the filter, which is JSON, has fields and all of them are null."""
    waiting = _conditions(whole)
    while waiting:
        condition = waiting.pop()
        if (
            isinstance(condition, dict)
            and condition
            and all(v is None for v in cast("dict[str, Any]", condition).values())
        ):
            return True
        inner = _inner(condition)
        if inner is not None:
            waiting += _conditions(inner)
    return False


def _conditions(of: Any) -> list[Any]:
    found: list[Any] = []
    for name in _GROUPS:
        group = _field(of, name)
        if isinstance(group, list):
            found += cast("list[Any]", group)
        elif group is not None:
            found.append(group)
    some = _field(_field(of, "min_should"), "conditions")
    return found + cast("list[Any]", some) if isinstance(some, list) else found


def _values(condition: Any) -> int:
    match = _field(condition, "match")
    lists = (_field(condition, "has_id"), _field(match, "any"), _field(match, "except"), _field(match, "except_"))
    return sum(len(cast("list[Any]", each)) for each in lists if isinstance(each, list))


def _inner(condition: Any) -> Any:
    """The filter that a condition is or has."""
    nested = _field(_field(condition, "nested"), "filter")
    if nested is not None:
        return nested
    has_groups = any(_field(condition, name) is not None for name in (*_GROUPS, "min_should"))
    return condition if has_groups or condition == {} else None


def _field(of: Any, name: str) -> Any:
    if isinstance(of, dict):
        return cast("dict[str, Any]", of).get(name)
    return getattr(of, name, None) if isinstance(of, BaseModel) else None
