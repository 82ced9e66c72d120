"""The tests that a filter can make of one payload key."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from memq_schemas.ids import MAX_ID
from memq_schemas.limits import MAX_FILTER_VALUES, MAX_KEY
from memq_schemas.model import Input, by_type, first_given, given

Key = Annotated[
    str,
    Field(min_length=1, max_length=MAX_KEY, description="payload key; a.b reaches into objects, a[] into arrays"),
]
Integer = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=MAX_ID)]

DATETIME_PATTERN = r"^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?)?$"
_DATETIME = re.compile(DATETIME_PATTERN.replace("$", r"\Z"), re.ASCII)


def _check_datetime(value: str) -> str:
    # Python reads more than Qdrant does: week dates, dates without dashes.
    if _DATETIME.match(value):
        try:
            time = datetime.fromisoformat(value.upper())
        except ValueError:
            pass
        else:
            return _in_range(value, time)
    raise ValueError("expected a number or an RFC 3339 date-time")


def _in_range(value: str, time: datetime) -> str:
    try:
        # Without an offset it is UTC already.
        time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a date-time that is in the years 1 to 9999 in UTC") from None
    return value


DateTime = Annotated[str, AfterValidator(_check_datetime), Field(json_schema_extra={"pattern": DATETIME_PATTERN})]


Value = Annotated[
    Annotated[bool, Tag("(boolean)")] | Annotated[Integer, Tag("(integer)")] | Annotated[str, Tag("(text)")],
    by_type("text, a boolean or an integer", {bool: "(boolean)", int: "(integer)", str: "(text)"}),
]
_BOUND_KINDS: dict[type, str] = {bool: "(none)", int: "(number)", float: "(number)", str: "(date-time)"}
Bound = Annotated[
    Annotated[float, Tag("(number)")] | Annotated[DateTime, Tag("(date-time)")],
    by_type("a number or an RFC 3339 date-time", _BOUND_KINDS),
]


_MATCHES = {
    "text": "(text)",
    "text_any": "(text-any)",
    "phrase": "(phrase)",
    "any": "(any)",
    "except": "(except)",
    "value": "(value)",
}


class _Match(Input):
    """One test of a field's value."""

    siblings: ClassVar[frozenset[str]] = frozenset(_MATCHES)


class MatchValue(_Match):
    value: Value


class MatchText(_Match):
    text: str


class MatchTextAny(_Match):
    """At least one of the words."""

    text_any: str


class MatchPhrase(_Match):
    """The words next to each other; the key's text index needs `phrase_matching`."""

    phrase: str


_Texts = Annotated[list[str], Field(fail_fast=True, max_length=MAX_FILTER_VALUES)]
_Integers = Annotated[list[Integer], Field(fail_fast=True, max_length=MAX_FILTER_VALUES)]


def _item_kind(value: object) -> str:
    # A list without items is one of texts: any([]) matches nothing, whatever the type.
    return "(integers)" if isinstance(value, list) and value and isinstance(value[0], int) else "(texts)"


def _any_of(schema: JsonDict) -> None:
    # A list without items is both.
    schema["anyOf"] = schema.pop("oneOf")


_Values = Annotated[
    Annotated[_Texts, Tag("(texts)")] | Annotated[_Integers, Tag("(integers)")],
    Discriminator(_item_kind),
    Field(json_schema_extra=_any_of),
]


class MatchAny(_Match):
    any: _Values


class MatchExcept(_Match):
    except_: Annotated[_Values, Field(alias="except")]


def _match_kind(value: object) -> str:
    if isinstance(value, dict):
        return first_given(value, _MATCHES, "(value)")
    return _MATCH_BY_TYPE.get(type(value), "(value)")


Match = Annotated[
    Annotated[MatchValue, Tag("(value)")]
    | Annotated[MatchText, Tag("(text)")]
    | Annotated[MatchTextAny, Tag("(text-any)")]
    | Annotated[MatchPhrase, Tag("(phrase)")]
    | Annotated[MatchAny, Tag("(any)")]
    | Annotated[MatchExcept, Tag("(except)")],
    Discriminator(_match_kind),
]

_MATCH_BY_TYPE: dict[type, str] = {
    MatchText: "(text)",
    MatchTextAny: "(text-any)",
    MatchPhrase: "(phrase)",
    MatchAny: "(any)",
    MatchExcept: "(except)",
}

_BOUNDS = ("lt", "gt", "gte", "lte")


def _range_schema(schema: JsonDict) -> None:
    given("anyOf", *_BOUNDS)(schema)
    kinds: list[Any] = [
        {"properties": {bound: {"type": [kind, "null"]} for bound in _BOUNDS}} for kind in ("number", "string")
    ]
    schema["oneOf"] = kinds


class Range(Input):
    """Bounds are numbers, or RFC 3339 date-times given as strings; not both in one range."""

    model_config = ConfigDict(json_schema_extra=_range_schema)

    lt: Bound | None = None
    gt: Bound | None = None
    gte: Bound | None = None
    lte: Bound | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Range":
        bounds = [b for b in (self.lt, self.gt, self.gte, self.lte) if b is not None]
        if not bounds:
            raise ValueError("a range needs at least one of lt, gt, gte, lte")
        if len({isinstance(b, str) for b in bounds}) > 1:
            raise ValueError("a range has numbers or date-times, not both")
        return self


class ValuesCount(Input):
    model_config = ConfigDict(json_schema_extra=given("anyOf", *_BOUNDS))

    lt: Count | None = None
    gt: Count | None = None
    gte: Count | None = None
    lte: Count | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> "ValuesCount":
        if self.lt is None and self.gt is None and self.gte is None and self.lte is None:
            raise ValueError("values_count needs at least one of lt, gt, gte, lte")
        return self


class GeoPoint(Input):
    lon: Annotated[float, Field(ge=-180, le=180)]
    lat: Annotated[float, Field(ge=-90, le=90)]


class GeoBoundingBox(Input):
    top_left: GeoPoint
    bottom_right: GeoPoint


class GeoRadius(Input):
    center: GeoPoint
    radius: Annotated[float, Field(gt=0, description="metres")]


class GeoLine(Input):
    points: Annotated[list[GeoPoint], Field(fail_fast=True, min_length=4, max_length=MAX_FILTER_VALUES)]


class GeoPolygon(Input):
    """The area within `exterior` and outside every one of `interiors`; the first point of a ring is also its last."""

    exterior: GeoLine
    interiors: Annotated[list[GeoLine], Field(fail_fast=True, max_length=MAX_FILTER_VALUES)] | None = None


class Condition_(Input):
    """One condition of a filter: a test of a field, of the point, or a filter of its own."""

    siblings: ClassVar[frozenset[str]] = frozenset(
        {"key", "match", "range", "values_count", "geo_bounding_box", "geo_radius", "geo_polygon"}
        | {"is_empty", "is_null", "has_id", "has_vector", "nested"}
        | {"must", "should", "must_not", "min_should"}
    )


TESTS = (
    "match",
    "range",
    "values_count",
    "geo_bounding_box",
    "geo_radius",
    "geo_polygon",
    "is_empty",
    "is_null",
)
# In generated types a field would be both an object, as a condition, and a boolean, as a test of a key: the schema has
# the condition alone.
_Flag = Annotated[bool | None, WithJsonSchema({"type": "null"})]


class FieldCondition(Condition_):
    """One key and exactly one test of it."""

    model_config = ConfigDict(json_schema_extra=given("oneOf", *TESTS[:-2]))

    key: Key
    match: Match | None = None
    range: Range | None = None
    values_count: ValuesCount | None = None
    geo_bounding_box: GeoBoundingBox | None = None
    geo_radius: GeoRadius | None = None
    geo_polygon: GeoPolygon | None = None
    is_empty: _Flag = None
    is_null: _Flag = None

    @model_validator(mode="after")
    def _one_test(self) -> "FieldCondition":
        if sum(getattr(self, test) is not None for test in TESTS) != 1:
            raise ValueError(f"a condition has one of {', '.join(TESTS)}")
        return self
