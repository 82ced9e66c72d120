"""The tests that a filter can make of one payload key."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.config import JsonDict

from memq_schemas.ids import MAX_ID
from memq_schemas.model import Model, by_type, given

Key = Annotated[str, Field(min_length=1, description="payload key; a.b reaches into objects, a[] into arrays")]
Integer = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=MAX_ID)]

DATETIME_PATTERN = r"^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?)?$"
_DATETIME = re.compile(DATETIME_PATTERN.replace("$", r"\Z"), re.ASCII)


def _check_datetime(value: str) -> str:
    # Python reads more than Qdrant does: week dates, dates without dashes.
    if _DATETIME.match(value):
        try:
            datetime.fromisoformat(value.upper())
        except ValueError:
            pass
        else:
            return value
    raise ValueError("expected a number or an RFC 3339 date-time")


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


class MatchValue(Model):
    value: Value


class MatchText(Model):
    text: str


class MatchAny(Model):
    any: list[str] | list[Integer]


class MatchExcept(Model):
    except_: Annotated[list[str] | list[Integer], Field(alias="except")]


def _match_kind(value: object) -> str:
    if isinstance(value, dict):
        for kind in ("text", "any", "except"):
            if kind in value:
                return f"({kind})"
        return "(value)"
    kinds: dict[type, str] = {MatchText: "(text)", MatchAny: "(any)", MatchExcept: "(except)"}
    return kinds.get(type(value), "(value)")


Match = Annotated[
    Annotated[MatchValue, Tag("(value)")]
    | Annotated[MatchText, Tag("(text)")]
    | Annotated[MatchAny, Tag("(any)")]
    | Annotated[MatchExcept, Tag("(except)")],
    Discriminator(_match_kind),
]

_BOUNDS = ("lt", "gt", "gte", "lte")


def _range_schema(schema: JsonDict) -> None:
    given("anyOf", *_BOUNDS)(schema)
    kinds: list[Any] = [
        {"properties": {bound: {"type": [kind, "null"]} for bound in _BOUNDS}} for kind in ("number", "string")
    ]
    schema["oneOf"] = kinds


class Range(Model):
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


class ValuesCount(Model):
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


class GeoPoint(Model):
    lon: Annotated[float, Field(ge=-180, le=180)]
    lat: Annotated[float, Field(ge=-90, le=90)]


class GeoBoundingBox(Model):
    top_left: GeoPoint
    bottom_right: GeoPoint


class GeoRadius(Model):
    center: GeoPoint
    radius: Annotated[float, Field(gt=0, description="metres")]


class FieldCondition(Model):
    """One key and exactly one test of it."""

    model_config = ConfigDict(
        json_schema_extra=given("oneOf", "match", "range", "values_count", "geo_bounding_box", "geo_radius")
    )

    key: Key
    match: Match | None = None
    range: Range | None = None
    values_count: ValuesCount | None = None
    geo_bounding_box: GeoBoundingBox | None = None
    geo_radius: GeoRadius | None = None

    @model_validator(mode="after")
    def _one_test(self) -> "FieldCondition":
        tests = (self.match, self.range, self.values_count, self.geo_bounding_box, self.geo_radius)
        if sum(t is not None for t in tests) != 1:
            raise ValueError("a condition has one of match, range, values_count, geo_bounding_box, geo_radius")
        return self
