"""`null` for an optional field is the same as leaving it out: to the models, the decoders and the schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from memq_schemas import Count, CreateCollection, Delete, Filter, Get, Query, SetPayload, Upsert
from memq_schemas.conditions import Condition_, MatchValue
from tests.unit.schemas.json_schema import Schema
from tests.unit.schemas.strategies import FILTERS
from tests.unit.schemas.test_bodies import ACCEPTED

if TYPE_CHECKING:
    from memq_schemas.model import Model

FILTER = Schema(Filter.model_json_schema())
# Where the keys are the sender's own and null is a value.
DATA = {"payload", "set", "overwrite"}


def optional(model: type[Model]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if not field.is_required()]


@pytest.mark.parametrize(("model", "body"), ACCEPTED)
def test_every_optional_field_of_a_body_may_be_null(model: type[Model], body: dict[str, Any]) -> None:
    full = dict.fromkeys(optional(model)) | body
    assert model.model_validate(full) == model.model_validate(body)
    if not {"Cosine", "DOT"} & set(json.dumps(body).replace('"', " ").split()):
        assert Schema(model.model_json_schema()).accepts(full)


def with_nulls(condition: Any) -> Any:
    """The condition as a class writes it that has the fields of all kinds of conditions."""
    if isinstance(condition, list):
        return [with_nulls(each) for each in condition]
    if not isinstance(condition, dict):
        return condition
    fields = {name: with_nulls(inner) for name, inner in condition.items()}
    if fields.keys() <= MatchValue.siblings:
        return dict.fromkeys(MatchValue.siblings) | fields if fields else fields
    if fields.keys() <= {"lt", "gt", "lte", "gte"}:
        return dict.fromkeys(("lt", "gt", "lte", "gte")) | fields if fields else fields
    if {"lon", "radius", "top_left", "conditions", "points", "exterior"} & fields.keys():
        return fields
    if fields.keys() == {"key"} or fields.keys() == {"key", "filter"}:
        return fields
    return dict.fromkeys(Condition_.siblings) | fields


@given(FILTERS)
def test_conditions_may_have_the_fields_of_all_other_kinds_as_null(body: dict[str, Any]) -> None:
    full = with_nulls(body)
    assert Filter.model_validate(full) == Filter.model_validate(body)
    assert FILTER.accepts(full)


REFUSED: list[tuple[type[Model], dict[str, Any]]] = [
    (Upsert, {"points": [{"id": None, "vector": [1]}]}),
    (Upsert, {"points": [{"id": 1, "vector": None}]}),
    (Upsert, {"points": [None]}),
    (Upsert, {"points": [{"id": 1, "vector": {"a": None}}]}),
    (Get, {"ids": None}),
    (Get, {"ids": [None]}),
    (Query, {"vector": None}),
    (Query, {"vector": [1], "unknown": None}),
    (Count, {"filter": {"must": [None]}}),
    (Count, {"filter": {"unknown": None}}),
    (Count, {"filter": {"must": [{"key": None, "match": {"value": 1}}]}}),
    (Count, {"filter": {"must": [{"key": "a", "match": {"value": None}}]}}),
    (Count, {"filter": {"must": [{"key": "a", "match": {"any": None, "text": None}}]}}),
    (Count, {"filter": {"must": [{"key": "a", "match": {"any": [None]}}]}}),
    (Count, {"filter": {"must": [{"key": "a", "range": {"gte": None}}]}}),
    (Count, {"filter": {"must": [{"key": "a", "match": None}]}}),
    (Count, {"filter": {"min_should": {"conditions": None, "min_count": 1}}}),
    (Delete, {"ids": None, "filter": None}),
    (Delete, {"filter": {"must": None}}),
    (Delete, {"filter": {"must": [{"has_id": None}]}}),
    (Delete, {"filter": {"must_not": [{"has_id": None}], "must": [{"has_id": [1]}]}}),
    (SetPayload, {"ids": [1], "set": None, "unset": None}),
    (CreateCollection, {"size": None, "vectors": None}),
    (CreateCollection, {"vectors": {"a": None}}),
]


@pytest.mark.parametrize(("model", "body"), REFUSED)
def test_null_is_no_value_of_a_required_field(model: type[Model], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(body)


def test_a_null_among_named_vectors_leaves_the_name_out() -> None:
    body = {"points": [{"id": 1, "vector": {"a": [1.0], "b": None}}]}
    assert Upsert.model_validate(body).points[0].vector == {"a": [1.0]}
    assert Schema(Upsert.model_json_schema()).accepts(body)
