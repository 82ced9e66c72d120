"""Qdrant's scoring formulas: numbers, variables, conditions, and objects of one operator each."""

from typing import Any, cast

from pydantic import JsonValue, TypeAdapter

from memq_schemas.filters import Condition
from memq_schemas.limits import MAX_CONDITIONS, MAX_FILTER_DEPTH

_CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
_ONE = ("abs", "neg", "sqrt", "exp", "log10", "ln")
_MANY = ("sum", "mult")
_TEXTS = ("datetime", "datetime_key")
# Fields that an operator needs, and those that it may have.
_FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "div": ({"left", "right"}, {"by_zero_default"}),
    "pow": ({"base", "exponent"}, set()),
    "geo_distance": ({"origin", "to"}, set()),
    **{name: ({"x"}, {"target", "scale", "midpoint"}) for name in ("exp_decay", "gauss_decay", "lin_decay")},
}
_INNER = ("left", "right", "base", "exponent", "x", "target")
_OPERATORS = (*_ONE, *_MANY, *_TEXTS, *_FIELDS)


def check_formula(expression: JsonValue) -> JsonValue:
    """Return the expression. Raises ValueError for one that is none, is too deep or has too many parts."""
    _count(expression, 1, 0)
    return expression


def _count(expression: Any, depth: int, parts: int) -> int:
    """Return the number of parts: `parts` that were counted before, and those of this expression."""
    if depth > MAX_FILTER_DEPTH:
        raise ValueError(f"nested more than {MAX_FILTER_DEPTH} levels deep")
    parts += 1
    if parts > MAX_CONDITIONS:
        raise ValueError(f"more than {MAX_CONDITIONS} parts in one formula")
    if isinstance(expression, dict):
        return _count_fields(cast("dict[str, Any]", expression), depth, parts)
    if isinstance(expression, (int, float, str)) and not isinstance(expression, bool):
        return parts
    raise ValueError("expected a number, a variable, a condition or an object of one operator")


def _count_fields(fields: dict[str, Any], depth: int, parts: int) -> int:
    name = next((name for name in _OPERATORS if name in fields), None)
    if name is None:
        _CONDITION.validate_python(fields)
        return parts
    if len(fields) != 1:
        raise ValueError(f"{name}: expected one operator in an object")
    for each in _operands(name, fields[name]):
        parts = _count(each, depth + 1, parts)
    return parts


def _operands(name: str, value: Any) -> list[Any]:
    if name in _ONE:
        return [value]
    if name in _MANY:
        if isinstance(value, list) and value:
            return cast("list[Any]", value)
        raise ValueError(f"{name}: expected a list of expressions, one at least")
    if name in _TEXTS:
        if isinstance(value, str):
            return []
        raise ValueError(f"{name}: expected text")
    needed, possible = _FIELDS[name]
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        if needed <= set(inner) <= needed | possible:
            return [inner[each] for each in _INNER if each in inner]
    raise ValueError(f"{name}: expected an object of {' and '.join(sorted(needed))}")
