from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy
import qdrant_edge as edge

from ..refusal import from_engine, invalid, invalid_field, unserved
from .ids import read_ids


def read_filter(message: Any) -> edge.Filter:
    minimum: edge.MinShould | None = None
    if message.HasField("min_should"):
        minimum = edge.MinShould(_conditions(message.min_should.conditions), message.min_should.min_count)
    return edge.Filter(
        must=_conditions(message.must) or None,
        should=_conditions(message.should) or None,
        must_not=_conditions(message.must_not) or None,
        min_should=minimum,
    )


def read_optional_filter(owner: Any, field: str = "filter") -> edge.Filter | None:
    return read_filter(getattr(owner, field)) if owner.HasField(field) else None


def _conditions(conditions: Iterable[Any]) -> list[Any]:
    return [read_condition(each) for each in conditions]


def read_condition(condition: Any) -> Any:
    kind = condition.WhichOneof("condition_one_of")
    read = _CONDITIONS.get(kind)
    if read is None:
        raise invalid("Malformed Condition type") if kind is None else unserved(f"filter condition {kind}")
    try:
        return read(getattr(condition, kind))
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error


def _field(condition: Any) -> edge.FieldCondition:
    given: dict[str, Any] = {}
    for descriptor, value in condition.ListFields():
        name = descriptor.name
        if name in _FIELD_PARTS:
            given["range" if name == "datetime_range" else name] = _FIELD_PARTS[name](value)
    if not given:
        problem = "Validation error: At least one field condition must be specified [{}]"
        raise invalid_field("filter.must[0].condition_one_of.match", problem)
    return edge.FieldCondition(condition.key, **given)


def _nested(condition: Any) -> edge.NestedCondition:
    if not condition.HasField("filter"):
        raise invalid("Nested condition must have a filter")
    return edge.NestedCondition(condition.key, read_filter(condition.filter))


def _match(match: Any) -> Any:
    kind = match.WhichOneof("match_value")
    if kind is None:
        raise invalid("Malformed Match condition")
    return _MATCHES[kind](getattr(match, kind))


def _bounds(message: Any) -> dict[str, Any]:
    return {descriptor.name: value for descriptor, value in message.ListFields()}


def _times(message: Any) -> dict[str, str]:
    return {name: time.ToJsonString() for name, time in _bounds(message).items()}


def _geo(point: Any) -> edge.GeoPoint:
    return edge.GeoPoint(point.lon, point.lat)


def _line(line: Any) -> list[edge.GeoPoint]:
    points = [_geo(point) for point in line.points]
    # A server closes a ring that is open; the engine refuses it.
    first, last = (line.points[0], line.points[-1]) if line.points else (None, None)
    return points if first == last else [*points, points[0]]


_CONDITIONS: dict[str | None, Callable[[Any], Any]] = {
    "field": _field,
    "is_empty": lambda each: edge.IsEmptyCondition(each.key),
    "is_null": lambda each: edge.IsNullCondition(each.key),
    "has_id": lambda each: edge.HasIdCondition(set(read_ids(each.has_id))),
    "has_vector": lambda each: edge.HasVectorCondition(each.has_vector),
    "nested": _nested,
    "filter": read_filter,
}

_FIELD_PARTS: dict[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": lambda each: edge.RangeFloat(**_bounds(each)),
    "datetime_range": lambda each: edge.RangeDateTime(**_times(each)),
    "values_count": lambda each: edge.ValuesCount(**_bounds(each)),
    "geo_bounding_box": lambda each: edge.GeoBoundingBox(_geo(each.top_left), _geo(each.bottom_right)),
    "geo_radius": lambda each: edge.GeoRadius(_geo(each.center), each.radius),
    "geo_polygon": lambda each: edge.GeoPolygon(_line(each.exterior), [_line(line) for line in each.interiors]),
    "is_empty": bool,
    "is_null": bool,
}

_MATCHES: dict[str, Callable[[Any], Any]] = {
    "keyword": edge.MatchValue,
    "integer": edge.MatchValue,
    # The engine takes a Python bool for the integer it also is, and then matches nothing; numpy's is only a bool.
    "boolean": lambda each: edge.MatchValue(cast("bool", numpy.bool_(each))),
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
    "keywords": lambda each: edge.MatchAny(list(each.strings)),
    "integers": lambda each: edge.MatchAny(list(each.integers)),
    "except_keywords": lambda each: edge.MatchExcept(list(each.strings)),
    "except_integers": lambda each: edge.MatchExcept(list(each.integers)),
}
