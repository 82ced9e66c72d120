"""Which filters `delete` and `payload` refuse, against what the store selects by them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from memq_schemas import Delete, Filter, SetPayload
from memq_schemas.match_all import selects_all
from memq_worker.qdrant.filters import where
from tests.contract.messages import dense, point

if TYPE_CHECKING:
    from tests.contract.store import Store

UNKNOWNS = 4
POINTS = range(2**UNKNOWNS)  # one for each combination of the unknowns' values
FILTERS = 1500


def holds(number: int, bit: int) -> bool:
    return bool(number >> bit & 1)


def payload(number: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for bit in range(UNKNOWNS):
        true = holds(number, bit)
        fields |= {f"k{bit}": 1 if true else 2, f"t{bit}": "a" if true else "b", f"l{bit}": [1, 2] if true else [1]}
        fields |= {f"o{bit}": [{"x": 1 if true else 2}], f"z{bit}": None if true else 1}
        fields |= {f"p{bit}": 1} if true else {}
        fields |= {} if true else {f"e{bit}": 1}
    return fields


def unknown(bit: int) -> list[dict[str, Any]]:
    """Conditions of each kind that hold where the bit is set, and nowhere else."""
    key = {"key": f"k{bit}"}
    return [
        key | {"match": {"value": 1}},
        key | {"match": {"any": [1, 7]}},
        key | {"match": {"except": [2]}},
        key | {"range": {"lt": 1.5}},
        {"key": f"p{bit}", "match": {"except": []}},
        {"key": f"p{bit}", "range": {"gte": 0}},
        {"key": f"t{bit}", "match": {"value": "a"}},
        {"key": f"l{bit}", "values_count": {"gt": 1}},
        {"is_empty": {"key": f"e{bit}"}},
        {"is_null": {"key": f"z{bit}"}},
        {"has_id": [number for number in POINTS if holds(number, bit)]},
        {"nested": {"key": f"o{bit}", "filter": {"must": [{"key": "x", "match": {"value": 1}}]}}},
    ]


CONSTANTS: list[dict[str, Any]] = [
    {},
    {"must": []},
    {"should": []},
    {"must_not": [], "should": None},
    {"has_id": []},
    {"key": "k0", "match": {"any": []}},
    {"nested": {"key": "o0", "filter": {"must": [{"has_id": []}]}}},
    {"min_should": {"conditions": [{"has_id": []}], "min_count": 0}},
    {"min_should": {"conditions": [{"has_id": []}], "min_count": 2}},
]
DISPUTED: dict[str, Any] = {"min_should": {"conditions": [], "min_count": 1}}


def generated(rng: random.Random, leaves: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    """A filter in which each of the leaves is there at most once."""

    def member() -> dict[str, Any]:
        if depth and rng.random() < 0.35:
            return generated(rng, leaves, depth - 1)
        if leaves and rng.random() < 0.5:
            return leaves.pop()
        return DISPUTED if rng.random() < 0.05 else rng.choice(CONSTANTS)

    found: dict[str, Any] = {}
    for name in rng.sample(["must", "should", "must_not", "min_should"], rng.randint(1, 2)):
        members = [member() for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        if name == "min_should":
            found[name] = {"conditions": members, "min_count": rng.randint(0, 3)}
        else:
            found[name] = members[0] if len(members) == 1 and rng.random() < 0.3 else members
    return found


async def test_the_guard_refuses_exactly_the_filters_that_select_every_point(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(number, dense(1, 0, 0, 0), **payload(number)) for number in POINTS])
    for bit in range(UNKNOWNS):
        for condition in unknown(bit):
            every = Filter.model_validate({"must": [condition]})
            assert await store.count(collection, where(every)) == len(POINTS) / 2, condition
            assert not selects_all(every)
    rng = random.Random(20)
    refused = 0
    for _ in range(FILTERS):
        leaves = [rng.choice(unknown(bit)) for bit in range(UNKNOWNS)]
        body = generated(rng, leaves, 2)
        parsed = Filter.model_validate(body)
        guarded = selects_all(parsed)
        everything = await store.count(collection, where(parsed)) == len(POINTS)
        if "'conditions': []" in str(body):  # stores disagree about it
            assert guarded or not everything, body
        else:
            assert guarded == everything, body
        refused += guarded
    assert FILTERS / 5 < refused < FILTERS * 4 / 5, "both answers are met often"


SELECTING_ALL: list[dict[str, Any]] = [
    {},
    {"must_not": [{"has_id": []}]},
    {"must_not": {"key": "a", "match": {"any": []}}},
    {"must_not": {"key": "a", "match": {"text": ""}}},
    {"must_not": [{"key": "a", "match": {"text_any": " \t"}}]},
    {"must_not": [{"must": [{"key": "a", "match": {"phrase": ""}}, {"key": "b", "match": {"value": 1}}]}]},
    {"min_should": {"conditions": [], "min_count": 1}},
    {"min_should": {"conditions": [], "min_count": 0}},
    {"min_should": {"conditions": [{"has_id": [1]}], "min_count": 0}},
    {"should": [{"must_not": [{"has_id": []}]}, {"has_id": [1]}]},
    {"must": [{"must": [{"should": []}]}]},
    {"must_not": [{"must": [{"has_id": []}, {"key": "a", "match": {"value": 1}}]}]},
    {"must_not": [{"nested": {"key": "a", "filter": {"must": [{"has_id": []}]}}}]},
]


@pytest.mark.parametrize("body", SELECTING_ALL)
def test_no_write_takes_a_filter_that_selects_every_point(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="every point"):
        Delete.model_validate({"filter": body})
    with pytest.raises(ValidationError, match="every point"):
        SetPayload.model_validate({"filter": body, "set": {"a": 1}})


NOT_KNOWN: list[dict[str, Any]] = [
    {"must": [{"slice": {"total": 2, "index": 0}}]},
    {"must_not": [{"newer": 1}]},
    {"must": [{"has_id": None}, {"has_id": [1]}]},
    {"must_not": [{"has_id": None, "key": None}], "must": [{"has_id": [1]}]},
    {"must": [{"key": "a", "match": None}]},
    {"must": [{"key": "a", "match": {"value": None}}]},
    {"must": [{"key": "a", "range": {"gte": None, "lt": None}}]},
    {"must": [{"nested": {"key": "a", "filter": {"must": [{"has_id": None}]}}}]},
    {"min_should": {"conditions": [{"has_id": None}], "min_count": 1}},
]


@pytest.mark.parametrize("body", NOT_KNOWN)
def test_no_write_takes_unknown_conditions_or_null_operands(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Delete.model_validate({"filter": body})
    with pytest.raises(ValidationError):
        SetPayload.model_validate({"filter": body, "unset": ["a"]})


def test_opposites_are_not_found() -> None:
    condition = {"key": "a", "match": {"value": 1}}
    assert not selects_all(Filter.model_validate({"should": [condition, {"must_not": [condition]}]}))
