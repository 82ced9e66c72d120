"""Qdrant's REST filter grammar, as far as every server from 1.16 on reads it alike.

Source: https://qdrant.tech/documentation/concepts/filtering/
"""

from typing import Annotated, Any, cast

from pydantic import Discriminator, Tag, model_validator

from memq_schemas.conditions import Count, FieldCondition, Key
from memq_schemas.ids import PointId
from memq_schemas.model import Model

# A filter inside a filter costs two nested protobuf messages, and protobuf parsers stop at 100.
MAX_FILTER_DEPTH = 16


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
    min_count: Count


class Filter(Model):
    """Conditions combined; a filter without any selects every point."""

    must: "Conditions | None" = None
    should: "Conditions | None" = None
    must_not: "Conditions | None" = None
    min_should: MinShould | None = None

    @model_validator(mode="after")
    def _not_too_deep(self) -> "Filter":
        if _depth(self) > MAX_FILTER_DEPTH:
            raise ValueError(f"filters nested more than {MAX_FILTER_DEPTH} levels deep")
        return self

    @property
    def is_empty(self) -> bool:
        """True when the filter would match every point of the collection, whatever the points are."""
        must, should, must_not = (_listed(clause) for clause in (self.must, self.should, self.must_not))
        if not all(map(_matches_all, must)) or must_not:
            return False
        if should and not any(map(_matches_all, should)):
            return False
        some = self.min_should
        return some is None or sum(map(_matches_all, some.conditions)) >= some.min_count


def _condition_kind(value: object) -> str:
    if isinstance(value, dict):
        names = cast("dict[str, Any]", value)
        return next((tag for name, tag in _KIND_BY_NAME.items() if name in names), "(filter)")
    return _KIND_BY_TYPE.get(type(value), "(filter)")


def _how_many(value: object) -> str:
    return "(list)" if isinstance(value, list) else "(one)"


# A plain union would report every arm's errors for a condition, and multiply them by the arms at each level of nesting.
Condition = Annotated[
    Annotated[FieldCondition, Tag("(field)")]
    | Annotated[IsEmpty, Tag("(is-empty)")]
    | Annotated[IsNull, Tag("(is-null)")]
    | Annotated[HasId, Tag("(has-id)")]
    | Annotated[HasVector, Tag("(has-vector)")]
    | Annotated[Nested, Tag("(nested)")]
    | Annotated[Filter, Tag("(filter)")],
    Discriminator(_condition_kind),
]
Conditions = Annotated[
    Annotated[list[Condition], Tag("(list)")] | Annotated[Condition, Tag("(one)")], Discriminator(_how_many)
]

_KIND_BY_NAME = {
    "key": "(field)",
    "is_empty": "(is-empty)",
    "is_null": "(is-null)",
    "has_id": "(has-id)",
    "has_vector": "(has-vector)",
    "nested": "(nested)",
}
_KIND_BY_TYPE: dict[type, str] = {
    FieldCondition: "(field)",
    IsEmpty: "(is-empty)",
    IsNull: "(is-null)",
    HasId: "(has-id)",
    HasVector: "(has-vector)",
    Nested: "(nested)",
}


def _listed(clause: Any) -> list[Any]:
    if clause is None:
        return []
    return cast("list[Any]", clause) if isinstance(clause, list) else [clause]


def _matches_all(condition: Any) -> bool:
    return isinstance(condition, Filter) and condition.is_empty


def _depth(condition: Any) -> int:
    if isinstance(condition, Nested):
        condition = condition.nested.filter
    if not isinstance(condition, Filter):
        return 0
    inside = [
        *_listed(condition.must),
        *_listed(condition.should),
        *_listed(condition.must_not),
        *(condition.min_should.conditions if condition.min_should else ()),
    ]
    return 1 + max(map(_depth, inside), default=0)


for _model in (NestedFilter, Nested, MinShould, Filter):
    _model.model_rebuild()
