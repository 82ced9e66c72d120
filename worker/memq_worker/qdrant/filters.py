"""Filters in Qdrant's REST grammar as its protobuf messages."""

from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from memq_qdrant import grpc
from memq_schemas import Filter, conditions, filters
from memq_schemas.model import listed
from memq_worker.pipeline.store import Id

_BOUNDS = ("lt", "gt", "gte", "lte")
_KINDS: dict[type, str] = {bool: "boolean", int: "integer", str: "keyword"}


def point_id(value: Id) -> grpc.PointId:
    return grpc.PointId(num=value) if isinstance(value, int) else grpc.PointId(uuid=value)


def where(condition: Filter | None) -> grpc.Filter | None:
    return None if condition is None else _filter(condition)


def _filter(given: Filter) -> Any:
    least = given.min_should
    return grpc.Filter(
        must=_conditions(given.must),
        should=_conditions(given.should),
        must_not=_conditions(given.must_not),
        min_should=least and grpc.MinShould(conditions=_conditions(least.conditions), min_count=least.min_count),
    )


def _conditions(given: Any) -> list[Any]:
    return [condition_of(each) for each in listed(given)]


def condition_of(given: Any) -> Any:
    """Return the Condition of one of a filter's conditions."""
    found: dict[str, Any]
    match given:
        case conditions.FieldCondition():
            found = {"field": grpc.FieldCondition(key=given.key, **_test(given))}
        case filters.HasId():
            found = {"has_id": grpc.HasIdCondition(has_id=[point_id(each) for each in given.has_id])}
        case filters.HasVector():
            found = {"has_vector": grpc.HasVectorCondition(has_vector=given.has_vector)}
        case filters.Nested():
            nested = given.nested
            found = {"nested": grpc.NestedCondition(key=nested.key, filter=_filter(nested.filter))}
        case filters.IsEmpty() | filters.IsNull():
            found = given.model_dump()
        case _:
            found = {"filter": _filter(given)}
    return grpc.Condition(**found)


def _test(given: conditions.FieldCondition) -> dict[str, Any]:
    """Return the one test of a key, as the field of a FieldCondition that holds it."""
    name, test = next((name, test) for name in conditions.TESTS if (test := getattr(given, name)) is not None)
    if isinstance(test, bool):
        return {name: test}
    if name == "match":
        return {name: _match(test)}
    if name == "range":
        return _range(test)
    # The others have the same fields in both grammars.
    return {name: test.model_dump(exclude_none=True)}


def _match(given: conditions.Match) -> Any:
    found: dict[str, Any]
    match given:
        case conditions.MatchAny():
            found = _values("", given.any)
        case conditions.MatchExcept():
            found = _values("except_", given.except_)
        case conditions.MatchValue(value=value):
            found = {_KINDS[type(value)]: value}
        case _:
            found = given.model_dump()
    return grpc.Match(**found)


def _values(prefix: str, values: list[Any]) -> dict[str, Any]:
    """A list without values is one of texts."""
    if values and isinstance(values[0], int):
        return {f"{prefix}integers": grpc.RepeatedIntegers(integers=values)}
    return {f"{prefix}keywords": grpc.RepeatedStrings(strings=values)}


def _range(given: conditions.Range) -> dict[str, Any]:
    bounds = {name: bound for name in _BOUNDS if (bound := getattr(given, name)) is not None}
    if any(isinstance(bound, str) for bound in bounds.values()):
        return {"datetime_range": grpc.DatetimeRange(**{name: _time(text) for name, text in bounds.items()})}
    return {"range": grpc.Range(**bounds)}


def _time(text: str) -> Timestamp:
    """Read a date or a date-time; without an offset it is UTC."""
    time = Timestamp()
    time.FromDatetime(datetime.fromisoformat(text.upper()))
    return time
