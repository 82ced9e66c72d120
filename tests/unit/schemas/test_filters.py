from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models as rest

from memq_schemas import Count, Filter
from memq_schemas.conditions import MatchExcept
from memq_schemas.filters import HasId
from memq_schemas.limits import MAX_FILTER_DEPTH
from tests.unit.schemas.strategies import FILTERS, JSON_VALUES, combine


@given(FILTERS)
def test_qdrant_takes_and_converts_every_filter_that_we_take(body: dict[str, Any]):
    accepted = Filter.model_validate(body)
    for form in (body, accepted.model_dump(mode="json", by_alias=True, exclude_none=True)):
        RestToGrpc.convert_filter(rest.Filter.model_validate(form)).SerializeToString()


@given(FILTERS)
def test_a_filter_survives_its_own_json(body: dict[str, Any]):
    accepted = Filter.model_validate(body)
    assert Filter.model_validate_json(accepted.model_dump_json(by_alias=True)) == accepted


@given(JSON_VALUES | combine(JSON_VALUES))
def test_any_json_is_a_filter_or_a_validation_error(body: Any):
    try:
        accepted = Filter.model_validate(body)
    except ValidationError:
        return
    RestToGrpc.convert_filter(rest.Filter.model_validate(accepted.model_dump(mode="json", by_alias=True)))


def match(**test: object) -> dict[str, Any]:
    return {"must": [{"key": "a", "match": test}]}


def bounds(**test: object) -> dict[str, Any]:
    return {"must": [{"key": "a", "range": test}]}


REFUSED = {
    "unknown clause": {"musst": []},
    "condition of no kind": {"must": [{"foo": 1}]},
    "condition that is a number": {"must": 3},
    "condition without a test": {"must": [{"key": "a"}]},
    "two tests": {"must": [{"key": "a", "match": {"value": 1}, "range": {"lt": 1}}]},
    "two kinds": {"must": [{"key": "a", "match": {"value": 1}, "has_id": [1]}]},
    "empty key": {"must": [{"key": "", "match": {"value": 1}}]},
    "float match": match(value=1.5),
    "null match": match(value=None),
    "match beyond 64 bits": match(value=2**63),
    "any of two types": match(any=[1, "a"]),
    "any of booleans": match(any=[True]),
    "any beyond 64 bits": match(any=[-(2**63) - 1]),
    "python's name for except": match(except_=["a"]),
    "empty match": match(),
    "empty range": bounds(),
    "null range": bounds(lt=None),
    "mixed range": bounds(lt=1, gt="2024-01-01"),
    "range of text": bounds(lt="tomorrow"),
    "range of a number in text": bounds(lt="12"),
    "range of a day that is not": bounds(lt="2024-02-30"),
    "range of a week date": bounds(lt="2024-W01-1"),
    "range of a boolean": bounds(lt=True),
    "range beyond doubles": bounds(lt=10**400),
    "count without bounds": {"must": [{"key": "a", "values_count": {}}]},
    "negative count": {"must": [{"key": "a", "values_count": {"lt": -1}}]},
    "count beyond 64 bits": {"must": [{"key": "a", "values_count": {"lt": 2**64}}]},
    "latitude": {"must": [{"key": "a", "geo_radius": {"center": {"lon": 0, "lat": 91}, "radius": 1}}]},
    "radius": {"must": [{"key": "a", "geo_radius": {"center": {"lon": 0, "lat": 0}, "radius": 0}}]},
    "ring of three points": {
        "must": [{"key": "a", "geo_polygon": {"exterior": {"points": [{"lon": 0, "lat": 0}] * 3}}}]
    },
    "two tests of emptiness": {"must": [{"key": "a", "is_empty": True, "is_null": True}]},
    "a key's emptiness as an object": {"must": [{"key": "a", "is_empty": {"key": "a"}}]},
    "words and a phrase": match(text_any="a", phrase="b"),
    "id that is none": {"must": [{"has_id": ["x"]}]},
    "negative minimum": {"min_should": {"conditions": [], "min_count": -1}},
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_is_no_filter_is_refused(body: dict[str, Any]):
    with pytest.raises(ValidationError):
        Filter.model_validate(body)


def test_one_mistake_deep_inside_is_one_error_at_its_place():
    body: dict[str, Any] = {"key": "a", "mach": {"value": 1}}
    for _ in range(MAX_FILTER_DEPTH):
        body = {"must": [body]}
    with pytest.raises(ValidationError) as caught:
        Filter.model_validate(body)
    (error,) = caught.value.errors(include_input=False)
    place = [step for step in error["loc"] if not str(step).startswith("(")]
    assert place == ["must", 0] * MAX_FILTER_DEPTH + ["mach"]


ONE_ERROR = {
    "match of a number": (match(value=1.5), "value", "expected text, a boolean or an integer"),
    "range of text": (bounds(lt="tomorrow"), "lt", "expected a number or an RFC 3339 date-time"),
    "range of a boolean": (bounds(gte=True), "gte", "expected a number or an RFC 3339 date-time"),
    "id of text": ({"must": [{"has_id": [1, "x"]}]}, 1, "a string id has to be a UUID"),
    "id of a boolean": ({"must": [{"has_id": [True]}]}, 0, "expected an unsigned 64-bit integer or a UUID"),
}


@pytest.mark.parametrize(("body", "place", "reason"), ONE_ERROR.values(), ids=ONE_ERROR)
def test_a_value_of_the_wrong_type_is_one_error_that_says_what_was_expected(
    body: dict[str, Any], place: str | int, reason: str
):
    with pytest.raises(ValidationError, match=reason) as caught:
        Filter.model_validate(body)
    (error,) = caught.value.errors(include_input=False)
    assert [step for step in error["loc"] if not str(step).startswith("(")][-1] == place


def test_the_deepest_filter_converts_and_a_deeper_one_is_refused():
    body: dict[str, Any] = {"must": [{"key": "a", "match": {"value": 1}}]}
    for _ in range(MAX_FILTER_DEPTH - 1):
        body = {"must": [{"nested": {"key": "a", "filter": body}}]}
    assert RestToGrpc.convert_filter(rest.Filter.model_validate(body)).SerializeToString()
    Count.model_validate({"filter": body})
    for deeper in ({"must": body}, {"min_should": {"conditions": [body], "min_count": 1}}):
        with pytest.raises(ValidationError, match="nested more than 16 levels"):
            Count.model_validate({"filter": deeper})


def test_models_are_conditions_as_well_as_dicts():
    built = Filter(must=[HasId(has_id=[1])], must_not=Filter(should=[HasId(has_id=[2])]))
    assert built == Filter.model_validate({"must": [{"has_id": [1]}], "must_not": {"should": [{"has_id": [2]}]}})
    assert MatchExcept.model_validate({"except": ["a"]}).model_dump(by_alias=True) == {"except": ["a"]}
