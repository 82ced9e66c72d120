"""Qdrant's REST filter grammar, as far as every server from 1.16 on reads it alike.

Source: https://qdrant.tech/documentation/concepts/filtering/
"""

from typing import Annotated

from pydantic import Field, model_validator

from memq_schemas.ids import PointId
from memq_schemas.model import Model

Key = Annotated[str, Field(min_length=1, description="payload key; a.b reaches into objects, a[] into arrays")]


class MatchValue(Model):
    value: bool | int | str


class MatchText(Model):
    text: str


class MatchAny(Model):
    any: list[str] | list[int]


class MatchExcept(Model):
    except_: Annotated[list[str] | list[int], Field(alias="except")]


class Range(Model):
    """Bounds are numbers, or RFC 3339 date-times given as strings; not both in one range."""

    lt: float | str | None = None
    gt: float | str | None = None
    gte: float | str | None = None
    lte: float | str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Range":
        bounds = [b for b in (self.lt, self.gt, self.gte, self.lte) if b is not None]
        if not bounds:
            raise ValueError("a range needs at least one of lt, gt, gte, lte")
        if len({isinstance(b, str) for b in bounds}) > 1:
            raise ValueError("a range has numbers or date-times, not both")
        return self


class ValuesCount(Model):
    lt: int | None = None
    gt: int | None = None
    gte: int | None = None
    lte: int | None = None


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

    key: Key
    match: MatchValue | MatchText | MatchAny | MatchExcept | None = None
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


class KeyOnly(Model):
    key: Key


class IsEmpty(Model):
    is_empty: KeyOnly


class IsNull(Model):
    is_null: KeyOnly


class HasId(Model):
    has_id: list[PointId]


class HasVector(Model):
    has_vector: str


class NestedFilter(Model):
    key: Key
    filter: "Filter"


class Nested(Model):
    nested: NestedFilter


class MinShould(Model):
    conditions: list["Condition"]
    min_count: Annotated[int, Field(ge=0)]


class Filter(Model):
    must: "list[Condition] | Condition | None" = None
    should: "list[Condition] | Condition | None" = None
    must_not: "list[Condition] | Condition | None" = None
    min_should: MinShould | None = None

    @property
    def is_empty(self) -> bool:
        """True when the filter would match every point of the collection."""
        return not (self.must or self.should or self.must_not or (self.min_should and self.min_should.conditions))


Condition = FieldCondition | IsEmpty | IsNull | HasId | HasVector | Nested | Filter

for _model in (NestedFilter, Nested, MinShould, Filter):
    _model.model_rebuild()
