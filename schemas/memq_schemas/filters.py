"""Qdrant's REST filter grammar, as far as every server from 1.16 on reads it alike.

Source: https://qdrant.tech/documentation/concepts/filtering/
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from memq_schemas.conditions import Condition_, Count, FieldCondition, Key
from memq_schemas.ids import PointId
from memq_schemas.limits import MAX_CONDITIONS, MAX_FILTER_VALUES
from memq_schemas.model import Input, first_given, how_many
from memq_schemas.size import check_size
from memq_schemas.vectors import VectorName


class KeyOnly(Input):
    key: Key


class IsEmpty(Condition_):
    is_empty: KeyOnly


class IsNull(Condition_):
    is_null: KeyOnly


class HasId(Condition_):
    has_id: Annotated[list[PointId], Field(fail_fast=True, max_length=MAX_FILTER_VALUES)]


class HasVector(Condition_):
    has_vector: VectorName


class NestedFilter(Input):
    key: Key
    filter: "Filter"


class Nested(Condition_):
    nested: NestedFilter


class MinShould(Input):
    conditions: "ConditionList"
    min_count: Count


class Filter(Condition_):
    """Conditions combined; a filter without any selects every point."""

    must: "Conditions | None" = None
    should: "Conditions | None" = None
    must_not: "Conditions | None" = None
    min_should: MinShould | None = None


# The condition that an object is, by the field that only this condition has.
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


def _condition_kind(value: object) -> str:
    if isinstance(value, dict):
        return first_given(value, _KIND_BY_NAME, "(filter)")
    return _KIND_BY_TYPE.get(type(value), "(filter)")


# A plain union would report every arm's errors for a condition, and multiply them by the arms at each level of nesting.
_Condition = Annotated[
    Annotated[FieldCondition, Tag("(field)")]
    | Annotated[IsEmpty, Tag("(is-empty)")]
    | Annotated[IsNull, Tag("(is-null)")]
    | Annotated[HasId, Tag("(has-id)")]
    | Annotated[HasVector, Tag("(has-vector)")]
    | Annotated[Nested, Tag("(nested)")]
    | Annotated[Filter, Tag("(filter)")],
    Discriminator(_condition_kind),
]
# An alias with a name is one definition in the schema, and one type where types are generated.
Condition = TypeAliasType("Condition", _Condition)
ConditionList = Annotated[list[Condition], Field(fail_fast=True, max_length=MAX_CONDITIONS)]
Conditions = Annotated[
    Annotated[ConditionList, Tag("(list)")] | Annotated[Condition, Tag("(one)")], Discriminator(how_many)
]

for _model in (NestedFilter, Nested, MinShould, Filter):
    _model.model_rebuild()


def _checked(value: Any) -> Any:
    check_size(value)
    return value


# A filter as bodies have it. The limits are those of the whole, so only its outermost level checks them.
WholeFilter = Annotated[Filter, BeforeValidator(_checked)]
